// The tree of the image as columns, its sums, and search. Nothing here touches the document.

const FOLDER = 0, FILE = 1, LINK = 2, NAME = 3, OTHER = 4, FOLDED = 5;
const KIND = 7, HIDDEN = 8;
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

// Returns the bytes of raw deflate in base64.
async function unpack(base64) {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns bytes in decimal units and three digits, as the command line does.
function bytesText(count) {
  let value = count, unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit++; }
  if (unit === 0) return `${count} B`;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

function counted(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

function percent(part, whole) {
  if (!whole || !part) return "0 %";
  const share = (part / whole) * 100;
  return share < 0.1 ? "<0.1 %" : `${share < 9.95 ? share.toFixed(1) : Math.round(share)} %`;
}

// Returns text in which what controls, formats or turns round is escaped.
function safe(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0), hex = code.toString(16);
    if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
    return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  });
}

// Returns a build step on one line; what the classic builder called a copied file is shortened.
function stepText(instruction) {
  const line = safe(instruction.split(/\s+/).join(" ").trim());
  return line.replace(/\b((?:file|dir|multi):[0-9a-f]{6})[0-9a-f]{58}\b/g, "$1");
}

// All nodes in depth-first order, each folder before what is in it; node 0 is the root.
class Tree {
  constructor(bytes, count) {
    let at = count;
    const number = () => {
      let value = 0, scale = 1, byte;
      do { byte = bytes[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte > 127);
      return value;
    };
    const column = (array, wanted = () => true) => {
      for (let i = 0; i < count; i++) if (wanted(i)) array[i] = number();
      return array;
    };
    this.count = count;
    this.flags = bytes.subarray(0, count);
    this.depth = column(new Uint16Array(count));
    this.size = column(new Float64Array(count));
    this.layer = column(new Uint32Array(count), (i) => this.kind(i) !== FOLDER);
    this.hiddenBy = column(new Uint32Array(count), (i) => this.isHiddenFile(i));
    this.how = column(new Uint8Array(count), (i) => this.isHiddenFile(i));
    this.files = column(new Float64Array(count).fill(1), (i) => this.kind(i) === FOLDED);
    this.hasFolded = this.flags.some((flags) => (flags & KIND) === FOLDED);
    this.names = new TextDecoder().decode(bytes.subarray(at)).split("/");
    this._link();
  }

  _link() {
    this.parent = new Int32Array(this.count).fill(-1);
    this.after = new Int32Array(this.count);  // the first node that is not below this one
    const open = [];
    for (let i = 0; i < this.count; i++) {
      while (open.length > this.depth[i]) this.after[open.pop()] = i;
      if (open.length) this.parent[i] = open[open.length - 1];
      open.push(i);
    }
    for (const i of open) this.after[i] = this.count;
  }

  kind(i) { return this.flags[i] & KIND; }
  isHidden(i) { return (this.flags[i] & HIDDEN) !== 0; }
  isHiddenFile(i) { return this.isHidden(i) && this.kind(i) !== FOLDER; }
  isFolder(i) { return this.kind(i) === FOLDER; }
  isWithin(i, folder) { return i >= folder && i < this.after[folder]; }

  name(i) {
    if (this.kind(i) === FOLDED) return `${counted(this.files[i], "small file")}`;
    return safe(this.names[i]) || "/";
  }

  path(i) {
    const parts = [];
    for (let at = i; at > 0; at = this.parent[at]) parts.unshift(this.name(at));
    return `/${parts.join("/")}`;
  }

  *children(folder) {
    if (!this.isFolder(folder)) return;
    for (let i = folder + 1; i < this.after[folder]; i = this.after[i]) yield i;
  }

  // Returns the bytes and the files below every node that a view counts: "all", "live" or
  // "hidden"; of one layer or, with 0, of all.
  weigh(view, layer) {
    const bytes = new Float64Array(this.count), files = new Float64Array(this.count);
    const hidden = new Float64Array(this.count);
    for (let i = this.count - 1; i >= 0; i--) {
      if (this._counts(i, view, layer)) {
        bytes[i] += this.size[i];
        if (this.isHidden(i)) hidden[i] += this.size[i];
        if (this.kind(i) === FILE || this.kind(i) === FOLDED) files[i] += this.files[i];
      }
      if (i === 0) break;
      const up = this.parent[i];
      bytes[up] += bytes[i];
      hidden[up] += hidden[i];
      files[up] += files[i];
    }
    return { bytes, hidden, files };
  }

  _counts(i, view, layer) {
    if (this.isFolder(i)) return false;
    if (layer && this.layer[i] !== layer) return false;
    return view === "all" || this.isHidden(i) === (view === "hidden");
  }

  // Returns how many matches are at or below every node, or null for no or an empty search.
  // The text is a regular expression where it is a valid one; with a slash it is of the path.
  search(text) {
    if (!text) return null;
    let test;
    try {
      const expression = new RegExp(text, "iu");
      test = (value) => expression.test(value);
    } catch {
      const lower = text.toLowerCase();
      test = (value) => value.toLowerCase().includes(lower);
    }
    const below = new Int32Array(this.count), own = [];
    const names = text.includes("/") ? this._paths() : this.names;
    for (let i = 1; i < this.count; i++) {
      if (this.kind(i) !== FOLDED && test(names[i])) { below[i] = 1; own.push(i); }
    }
    for (let i = this.count - 1; i > 0; i--) below[this.parent[i]] += below[i];
    return { below, own };
  }

  _paths() {
    const paths = new Array(this.count).fill("");
    for (let i = 1; i < this.count; i++) paths[i] = `${paths[this.parent[i]]}/${this.names[i]}`;
    return paths;
  }

  // Returns the node of a path as it is in the data; of two the hidden one, if it is wanted.
  find(path, wantsHidden) {
    let at = 0;
    const parts = path.split("/").filter(Boolean);
    for (const [index, part] of parts.entries()) {
      const found = [...this.children(at)].filter((i) => this.names[i] === part);
      const fits = (i) => index < parts.length - 1 ? this.isFolder(i) : this.isHidden(i) === wantsHidden;
      if (!found.length) return at;
      at = found.find(fits) ?? found[0];
    }
    return at;
  }

  // Returns sums that are made from the nodes alone, to be compared with what the page was told.
  totals() {
    const sums = { file_bytes: 0, live_bytes: 0, wasted_bytes: 0, files: 0, folders: 0, layers: {} };
    for (let i = 1; i < this.count; i++) {
      const kind = this.kind(i), size = this.size[i];
      if (kind === FOLDER && !this.isHidden(i)) sums.folders++;
      if (kind === FOLDER) continue;
      const layer = sums.layers[this.layer[i]] ??= { file_bytes: 0, hidden_bytes: 0 };
      sums.file_bytes += size;
      layer.file_bytes += size;
      if (this.isHidden(i)) { sums.wasted_bytes += size; layer.hidden_bytes += size; continue; }
      sums.live_bytes += size;
      if (kind === FILE || kind === FOLDED) sums.files += this.files[i];
    }
    return sums;
  }
}
