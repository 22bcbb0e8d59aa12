// The map: boxes whose areas are bytes, on a canvas. It knows the tree and colours, not the page.

const LEAST_AREA = 9;  // square pixels below which a box is not drawn
const STRIP = 17, PAD = 2, LEAST_FOLDER = 26;
const FONT = "12px system-ui, sans-serif";
// Dark enough for white text; the tests work out each contrast.
const PALETTE = [
  "#1f5fa8", "#a34700", "#1b6e3c", "#a1295b", "#5a4aa8", "#00707a",
  "#866000", "#b02a2a", "#4f6a12", "#74503c", "#3d5a78", "#843a92",
];

// Lays weights, the largest first, into a rectangle as squares as far as possible (Bruls,
// Huizing and van Wijk), and calls `place` for every one that is large enough to be seen.
function squarify(weights, total, { x, y, w, h }, place) {
  let left = total;
  for (let first = 0; first < weights.length && left > 0 && w > 0 && h > 0;) {
    const unit = (w * h) / left, side = Math.min(w, h);
    if (weights[first] * unit < LEAST_AREA) return;
    let sum = weights[first], end = first + 1;
    let worst = worstRatio(weights[first] * unit, weights[first] * unit, sum * unit, side);
    for (; end < weights.length; end++) {
      const grown = sum + weights[end];
      const ratio = worstRatio(weights[first] * unit, weights[end] * unit, grown * unit, side);
      if (ratio > worst) break;
      worst = ratio;
      sum = grown;
    }
    const thick = (sum * unit) / side;
    for (let i = first, along = 0; i < end; i++) {
      const long = (weights[i] * unit) / thick;
      if (w >= h) place(i, x, y + along, thick, long);
      else place(i, x + along, y, long, thick);
      along += long;
    }
    if (w >= h) { x += thick; w -= thick; } else { y += thick; h -= thick; }
    left -= sum;
    first = end;
  }
}

function worstRatio(largest, smallest, sum, side) {
  const a = side * side, b = sum * sum;
  return Math.max((a * largest) / b, b / (a * smallest));
}

class TreeMap {
  constructor(canvas, tree, colours) {
    this.canvas = canvas;
    this.tree = tree;
    this.colours = colours;  // of each layer
    this.boxes = [];
    this.hatch = this._hatch();
  }

  // Lays out a folder for the sums of `weigh`. Boxes of an outer folder come before inner ones.
  layout(folder, weights) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.boxes = [];
    this.weights = weights;
    this._fill(folder, { x: 0, y: 0, w: width, h: height }, 0);
  }

  _fill(folder, area, level) {
    const { bytes } = this.weights;
    const items = [...this.tree.children(folder)].filter((i) => bytes[i] > 0);
    items.sort((a, b) => bytes[b] - bytes[a]);
    squarify(items.map((i) => bytes[i]), bytes[folder], area, (index, x, y, w, h) => {
      if (w * h >= LEAST_AREA) this._place(items[index], { x, y, w, h }, level);
    });
  }

  _place(item, { x, y, w, h }, level) {
    const box = { x, y, w, h, level, item, node: item, label: this.tree.name(item) };
    this.boxes.push(box);
    if (!this.tree.isFolder(item)) return;
    for (let only = this._only(item); only >= 0; only = this._only(only)) {
      box.node = only;
      box.label += `/${this.tree.name(only)}`;
    }
    box.strip = h >= LEAST_FOLDER + STRIP && w >= LEAST_FOLDER ? STRIP : 0;
    // What is too small for a name has no frame either, and the colour of its largest file.
    if (!box.strip) box.mostly = this._largest(box.node);
    const pad = box.strip ? PAD : 0;
    const inner = { x: x + pad, y: y + pad + box.strip, w: w - 2 * pad, h: h - 2 * pad - box.strip };
    if (w >= 8 && h >= 8) this._fill(box.node, inner, level + 1);
  }

  // Returns the largest file of the largest folder of the largest folder, and so on.
  _largest(folder) {
    const { bytes } = this.weights;
    let at = folder;
    while (this.tree.isFolder(at)) {
      let most = -1;
      for (const i of this.tree.children(at)) if (most < 0 || bytes[i] > bytes[most]) most = i;
      at = most;
    }
    return at;
  }

  // Returns the folder that is all a folder has, or -1.
  _only(folder) {
    const { bytes } = this.weights;
    for (const i of this.tree.children(folder)) {
      if (bytes[i] === bytes[folder]) return this.tree.isFolder(i) ? i : -1;
    }
    return -1;
  }

  // Returns the innermost box at a point.
  at(x, y) {
    return this.boxes.findLast((b) => x >= b.x && x < b.x + b.w && y >= b.y && y < b.y + b.h);
  }

  // Returns the box beside one of the outermost boxes, in a direction such as [1, 0].
  beside(item, [dx, dy]) {
    const outer = this.boxes.filter((box) => box.level === 0);
    const from = outer.find((box) => box.item === item);
    if (!from) return outer[0];
    const middle = (box) => [box.x + box.w / 2, box.y + box.h / 2];
    const [x, y] = middle(from);
    let best, least = Infinity;
    for (const box of outer) {
      const [bx, by] = middle(box);
      const ahead = (bx - x) * dx + (by - y) * dy;
      const aside = Math.abs((bx - x) * dy) + Math.abs((by - y) * dx);
      const clear = dx > 0 ? box.x >= from.x + from.w - 1 : dx < 0 ? box.x + box.w <= from.x + 1
        : dy > 0 ? box.y >= from.y + from.h - 1 : box.y + box.h <= from.y + 1;
      if (box === from || !clear) continue;
      const distance = ahead + 2 * aside;
      if (distance < least) { least = distance; best = box; }
    }
    return best ?? from;
  }

  // Draws the boxes; `grown` from 0 to 1 says how far the map has grown out of the box `from`.
  draw({ theme, selected = -1, matches = null, from = null, grown = 1 }) {
    const { canvas } = this, scale = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.fillStyle = theme.ground;
    pen.fillRect(0, 0, width, height);
    if (from && grown < 1) {
      const zoom = (start, end) => start + (end - start) * grown;
      pen.translate(zoom(from.x, 0), zoom(from.y, 0));
      pen.scale(zoom(from.w / width, 1), zoom(from.h / height, 1));
    }
    pen.font = FONT;
    pen.textBaseline = "middle";
    for (const box of this.boxes) this._box(pen, box, theme, matches);
    const marked = this.boxes.find((box) => box.item === selected);
    if (marked) this._mark(pen, marked, theme);
  }

  _box(pen, box, theme, matches) {
    const { x, y, w, h, item } = box, { tree } = this;
    const gap = w > 4 && h > 4 ? 0.5 : 0;
    const dimmed = matches && !matches.below[item] && !this._isBelowMatch(item, matches);
    pen.globalAlpha = dimmed ? 0.25 : 1;
    if (box.strip) {
      pen.fillStyle = theme.edge;
      pen.fillRect(x, y, w, h);
      pen.fillStyle = theme.folder;
      pen.fillRect(x + 1, y + 1, w - 2, h - 2);
      this._text(pen, box, y + PAD + box.strip / 2, theme.text, null);
    } else {
      const file = box.mostly ?? item, colour = this.colours[tree.layer[file]] ?? PALETTE[0];
      pen.fillStyle = colour;
      pen.fillRect(x + gap, y + gap, w - 2 * gap, h - 2 * gap);
      if (tree.isHidden(file)) {
        pen.fillStyle = this.hatch;
        pen.fillRect(x + gap, y + gap, w - 2 * gap, h - 2 * gap);
      }
      if (file === item && h >= 18 && w >= 34) this._text(pen, box, y + 10, "#fff", colour);
    }
    pen.globalAlpha = 1;
  }

  _isBelowMatch(item, matches) {
    for (let at = item; at > 0; at = this.tree.parent[at]) if (matches.is[at]) return true;
    return false;
  }

  // Writes the name, and the size where both fit, on a plate of the box's own colour.
  _text(pen, { x, w, h, item, label }, middle, colour, plate) {
    const room = w - 10, size = bytesText(this.weights.bytes[item]);
    const name = shortened(pen, label, room);
    if (!name) return;
    const used = pen.measureText(name).width, wide = pen.measureText(size).width;
    const beside = used + wide + 12 <= room, below = !beside && plate && h >= 36 && wide <= room;
    const number = plate ? `layer ${this.tree.layer[item]}` : "", long = pen.measureText(number).width;
    const numbered = plate && (beside || below) && h >= (beside ? 36 : 52) && long <= room;
    if (plate) {
      pen.fillStyle = plate;
      pen.fillRect(x + 2, middle - 8, beside ? used + wide + 16 : used + 6, 16);
      if (below) pen.fillRect(x + 2, middle + 8, wide + 6, 16);
      if (numbered) pen.fillRect(x + 2, middle + (beside ? 8 : 23), long + 6, 16);
    }
    pen.fillStyle = colour;
    if (numbered) pen.fillText(number, x + 5, middle + (beside ? 15 : 30));
    pen.fillText(name, x + 5, middle);
    if (beside) pen.fillText(size, plate ? x + used + 15 : x + w - wide - 5, middle);
    else if (below) pen.fillText(size, x + 5, middle + 15);
  }

  _mark(pen, { x, y, w, h }, theme) {
    pen.strokeStyle = theme.ground;
    pen.lineWidth = 5;
    pen.strokeRect(x + 1.5, y + 1.5, w - 3, h - 3);
    pen.strokeStyle = theme.focus;
    pen.lineWidth = 3;
    pen.strokeRect(x + 1.5, y + 1.5, w - 3, h - 3);
  }

  _hatch() {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = tile.getContext("2d");
    pen.strokeStyle = "rgba(255, 255, 255, 0.62)";
    pen.lineWidth = 2;
    pen.beginPath();
    for (const shift of [-8, 0, 8]) { pen.moveTo(shift - 1, 9); pen.lineTo(shift + 9, -1); }
    pen.stroke();
    return pen.createPattern(tile, "repeat");
  }
}

// Returns as much of a text as fits, with an ellipsis, or nothing.
function shortened(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let low = 0, high = Math.min(text.length, 200);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${text.slice(0, low)}…` : "";
}
