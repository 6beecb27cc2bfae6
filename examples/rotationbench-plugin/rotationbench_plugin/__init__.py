"""An example of a plug-in: `conf/` names what it brings."""
