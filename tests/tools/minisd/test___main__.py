from __future__ import annotations

from tools.minisd import __main__ as command


def test_the_command_reports_wrong_settings(tmp_path, capsys):
    assert command.main(["fetch", "--preset", "tpu", "--cache", str(tmp_path)]) == 2
    assert "no such preset" in capsys.readouterr().err
