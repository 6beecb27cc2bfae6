// The tools, in the order of the toolbar; null parts groups.

export const TOOLS = [
  { name: "select", label: "Move points", key: "V", cursor: "default" },
  { name: "pan", label: "Move the picture", key: "H", cursor: "grab" },
  null,
  { name: "brush", label: "Brush", key: "B", cursor: "none", draws: 1 },
  { name: "eraser", label: "Eraser", key: "E", cursor: "none", draws: 0 },
  { name: "polygon", label: "Polygon", key: "P", cursor: "crosshair" },
  { name: "rectangle", label: "Rectangle", key: "R", cursor: "crosshair" },
  null,
  { name: "drag", label: "Handle and target", key: "D", cursor: "crosshair" },
  { name: "pivot", label: "Pivot", key: "O", cursor: "crosshair" },
];
