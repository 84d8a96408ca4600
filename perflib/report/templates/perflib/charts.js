// Draws the charts of a page that have data (report/chart_data.py) in place of their pictures, so that they can be read
// point by point and zoomed, by pointer and by keyboard. Charts of one gallery that share an axis are zoomed and read
// together. The pictures stay in the page: print shows them, and so does a reader without scripts. All text of others is
// set as text, never as HTML.
"use strict";
(() => {
  const HEIGHT = 250, LEFT = 52, RIGHT = 12, TOP = 8, BOTTOM = 38;
  const GALLERIES = new Map();  // by element and axis: {charts, range}

  const number = v => !Number.isFinite(v) ? "–"
    : Math.abs(v) >= 1000 || Number.isInteger(v) ? Math.round(v).toLocaleString("en").replace("-", "−")
    : String(Number(v.toPrecision(4))).replace("-", "−");
  const tick = v => Math.abs(v) >= 1e6 ? `${number(v / 1e6)}M` : Math.abs(v) >= 1e4 ? `${number(v / 1e3)}k` : number(v);
  // Where a share of the requests is on an axis of percentiles, and which one is at a place.
  const MEDIAN = Math.log10(2);
  const place = (q, even) => even && q < 0.5 ? 2 * q * MEDIAN : -Math.log10(1 - q);
  const share = (x, even) => even && x < MEDIAN ? `p${Number((50 * x / MEDIAN).toFixed(1))}`
    : `p${Number((100 * (1 - 10 ** -x)).toFixed(Math.max(1, Math.ceil(x))))}`;
  const within = (v, low, high) => Math.min(Math.max(v, low), high);

  function html(tag, parent, properties = {}) {
    const made = Object.assign(document.createElement(tag), properties);
    parent.append(made);
    return made;
  }

  function svg(tag, parent, attributes = {}, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  // Round numbers between two bounds: of an axis with equal steps, of a logarithmic one.
  function steps(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find(times => times * power >= rough);
    const first = Math.ceil(low / step - 1e-9), count = Math.floor(high / step + 1e-9) - first + 1;
    return Array.from({length: Math.max(count, 0)}, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }
  function powers(low, high, most) {
    const found = [[1, 2, 5], [1, 3], [1]].map(times => {
      const all = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        all.push(...times.map(t => Number((t * 10 ** power).toPrecision(3))).filter(v => v >= low && v <= high));
      return all;
    });
    return found[0].length < 2 ? steps(low, high, 4).filter(v => v > 0) : found.find(all => all.length <= most) ?? found[2];
  }

  class Chart {
    constructor(figure, gallery) {
      this.data = JSON.parse(figure.dataset.points);
      this.figure = figure;
      this.gallery = gallery;
      this.series = this.data.series ?? [];
      if (this.data.x.log) this.stretch();
      for (const each of this.series) each.x = this.data.xs[each.x];
      this.read = this.series.filter(each => each.name && (each.x.length > 2 || each.base));
      this.places = [...new Set(this.read.flatMap(each => each.x))].sort((a, b) => a - b);
      this.build(figure.querySelector("img").alt);
      new ResizeObserver(() => this.draw()).observe(this.plot);
      figure.classList.add("drawn");
    }

    // A logarithmic axis of x is one of equal steps with the logarithms of its values.
    stretch() {
      const {x, xs, areas = []} = this.data;
      for (const values of [...xs, ...areas.map(area => area.x)]) values.forEach((v, i) => { values[i] = Math.log10(v); });
      [x.from, x.to] = [Math.log10(x.from), Math.log10(x.to)];
    }

    get whole() { return [this.data.x.from, this.data.x.to]; }
    get range() { return this.gallery.range ?? this.whole; }

    build(title) {
      html("figcaption", this.figure, {textContent: title});
      this.plot = html("div", this.figure, {className: "plot"});
      this.svg = svg("svg", this.plot, {"aria-hidden": "true", height: HEIGHT});
      this.brush = html("div", this.plot, {className: "brush", hidden: true});
      this.readout = html("div", this.plot, {className: "readout", hidden: true});
      this.readout.setAttribute("aria-hidden", "true");
      this.pointer = html("div", this.plot, {className: "pointer", tabIndex: 0});
      const about = {role: "slider", "aria-label": `Points of: ${title}`, "aria-valuemin": 0,
                     "aria-valuemax": Math.max(this.places.length - 1, 0), "aria-valuenow": 0,
                     "aria-valuetext": "arrow keys read the points, + and − zoom, Escape shows all"};
      for (const [key, value] of Object.entries(about)) this.pointer.setAttribute(key, value);
      this.legend();
      this.listen();
    }

    legend() {
      const line = html("div", this.figure, {className: "legend"});
      for (const each of this.series.filter(each => each.name)) {
        const item = html("span", line);
        const kind = each.base ? "bar" : !each.line ? "mark" : each.dashed ? "dashed" : "line";
        if (each.x.length) html("i", item, {className: `swatch ${kind}`}).style.color = each.colour;
        item.append(each.name);
      }
      for (const each of this.data.keys ?? []) {
        const item = html("span", line);
        Object.assign(html("i", item, {className: "swatch bar"}).style, {color: each.colour, opacity: 0.4});
        item.append(each.name);
      }
      this.reset = html("button", line, {type: "button", textContent: "Show all", hidden: true});
      this.reset.addEventListener("click", () => { this.zoom(null); this.pointer.focus(); });
    }

    listen() {
      const at = event => {
        const box = this.pointer.getBoundingClientRect(), [low, high] = this.range;
        return low + within((event.clientX - box.left) / box.width, 0, 1) * (high - low);
      };
      let from = null;
      this.pointer.addEventListener("pointerdown", event => {
        if (event.button) return;
        from = {x: at(event), client: event.clientX};
        this.pointer.setPointerCapture(event.pointerId);
      });
      this.pointer.addEventListener("pointermove", event => {
        this.show(this.nearest(at(event)));
        this.brush.hidden = from === null;
        if (from !== null) {
          const [a, b] = [from.x, at(event)].sort((x, y) => x - y).map(v => LEFT + this.x(v));
          Object.assign(this.brush.style, {left: `${a}px`, width: `${b - a}px`});
        }
      });
      this.pointer.addEventListener("pointerup", event => {
        if (from !== null && Math.abs(event.clientX - from.client) > 6)
          this.zoom([from.x, at(event)].sort((x, y) => x - y));
        from = null;
        this.brush.hidden = true;
      });
      this.pointer.addEventListener("pointercancel", () => { from = null; this.brush.hidden = true; });
      this.pointer.addEventListener("dblclick", () => this.zoom(null));
      this.pointer.addEventListener("pointerleave", () => this.show(null));
      this.pointer.addEventListener("blur", () => this.show(null));
      this.pointer.addEventListener("keydown", event => this.key(event));
    }

    key(event) {
      const [low, high] = this.range, inside = this.places.map((x, i) => [x, i]).filter(([x]) => x >= low && x <= high);
      if (!inside.length || event.ctrlKey || event.altKey || event.metaKey) return;
      const first = inside[0][1], last = inside.at(-1)[1], now = this.now ?? first, span = high - low;
      const to = {ArrowRight: (this.now ?? first - 1) + 1, ArrowLeft: now - 1, PageDown: now + 10, PageUp: now - 10,
                  Home: first, End: last}[event.key];
      const width = {"+": span / 2, "=": span / 2, "-": span * 2, "−": span * 2}[event.key];
      if (to !== undefined) this.show(within(to, first, last));
      else if (width) this.zoom([this.places[now] - width / 2, this.places[now] + width / 2]);
      else if (event.key === "Escape") this.zoom(null);
      else return;
      event.preventDefault();
    }

    // Shows a stretch of the axis in all charts of the gallery; null: all of it.
    zoom(range) {
      const [low, high] = this.whole, least = (high - low) / 200;
      const [a, b] = (range ?? this.whole).map(v => within(v, low, high));
      if (range && b - a < least) return;
      this.gallery.range = range && b - a < 0.999 * (high - low) ? [a, b] : null;
      for (const chart of this.gallery.charts) chart.draw();
      if (this.now !== null) this.show(this.now);
    }

    draw() {
      const width = this.plot.clientWidth - LEFT - RIGHT, height = HEIGHT - TOP - BOTTOM;
      if (width <= 0) return;
      const [x0, x1] = this.range, [y0, y1] = this.heights();
      const log = this.data.y.log, scaled = log ? Math.log : v => v, bottom = scaled(y0), top = scaled(y1);
      this.x = v => (v - x0) / (x1 - x0) * width;
      this.y = v => (1 - (scaled(log ? Math.max(v, y0 / 10) : v) - bottom) / (top - bottom)) * height;
      this.size = [width, height];
      this.svg.replaceChildren();
      this.svg.setAttribute("width", this.plot.clientWidth);
      this.axes(log ? powers(y0, y1, 9) : steps(y0, y1, 5));
      const inside = svg("svg", this.svg, {x: LEFT, y: TOP, width, height});
      this.background(inside);
      for (const each of this.series) each.base ? this.bars(inside, each) : this.line(inside, each);
      this.texts(inside);
      this.cursor = svg("path", inside, {class: "cursor"});
      this.dots = svg("g", inside);
      Object.assign(this.pointer.style, {left: `${LEFT}px`, top: `${TOP}px`, width: `${width}px`, height: `${height}px`});
      Object.assign(this.brush.style, {top: `${TOP}px`, height: `${height}px`});
      this.reset.hidden = !this.gallery.range;
    }

    // From the lowest to the highest value in sight; limits count where all is shown.
    heights() {
      const [x0, x1] = this.range, seen = [];
      for (const each of this.series)
        each.x.forEach((x, i) => {
          if (x >= x0 && x <= x1 && each.y[i] !== null) seen.push((each.base?.[i] ?? 0) + each.y[i]);
        });
      for (const area of this.data.areas ?? []) seen.push(...area.y.filter((_, i) => area.x[i] >= x0 && area.x[i] <= x1));
      const cells = this.data.cells;
      cells?.columns.forEach(([first, shades], column) => {
        if (shades && cells.x[column + 1] > x0 && cells.x[column] < x1)
          seen.push(cells.y[first], cells.y[first + shades.length]);
      });
      if (!this.gallery.range) seen.push(...(this.data.across ?? []).map(([y]) => y));
      const log = this.data.y.log, known = log ? seen.filter(v => v > 0) : seen;
      if (!known.length) return [this.data.y.from, this.data.y.to];
      const low = Math.min(...known), high = Math.max(...known);
      if (log) return [low / 1.15, Math.max(high, low * 1.2) * 1.15];
      if (low === 0 || low > 0 && this.data.y.from <= 0 && !this.gallery.range) return [0, high * 1.08 || 1];
      const room = Math.max(0.08 * (high - low), 0.005 * Math.abs(high), 1e-9);
      return [low - room, high + room];
    }

    axes(ys) {
      const [width, height] = this.size, [x0, x1] = this.range, axis = this.data.x;
      const label = (x, y, text, more = {}) => svg("text", this.svg, {x, y, ...more}, text);
      for (const v of ys) {
        svg("path", this.svg, {class: "grid", d: `M${LEFT} ${TOP + this.y(v)}h${width}`});
        label(LEFT - 6, TOP + this.y(v) + 3.5, tick(v), {"text-anchor": "end"});
      }
      const known = [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, ...(axis.even ? [0.05, 0.25, 0.75] : [])].sort();
      const fixed = axis.percentile ? known.map(q => place(q, axis.even)) : [];
      let places = axis.log ? powers(10 ** x0, 10 ** x1, width / 40).map(Math.log10) : fixed.filter(x => x >= x0 && x <= x1);
      if (places.length < 2) places = steps(x0, x1, within(Math.floor(width / 70), 2, 10));
      let free = -Infinity;
      for (const v of places) {
        const x = LEFT + this.x(v);
        svg("path", this.svg, {class: "grid", d: `M${x} ${TOP}v${height}`});
        if (x - free > 34) label(x, TOP + height + 15, axis.percentile ? share(v, axis.even) : tick(axis.log ? Number((10 ** v).toPrecision(6)) : v), {"text-anchor": "middle"});
        if (x - free > 34) free = x;
      }
      svg("path", this.svg, {class: "frame", d: `M${LEFT} ${TOP}v${height}h${width}`});
      label(LEFT + width / 2, HEIGHT - 6, axis.label, {"text-anchor": "middle"});
      label(-(TOP + height / 2), 11, this.data.y.label, {"text-anchor": "middle", transform: "rotate(-90)"});
    }

    background(into) {
      const [width, height] = this.size, {spans = [], cells, areas = [], across = [], upright = []} = this.data;
      for (const [from, to, fill, opacity] of spans)
        svg("rect", into, {x: this.x(from), y: 0, width: Math.max(this.x(to) - this.x(from), 1), height, fill, "fill-opacity": opacity});
      if (cells) this.density(into, cells);
      for (const area of areas) {
        const outline = area.x.map((x, i) => `${this.x(x).toFixed(1)} ${this.y(area.y[i]).toFixed(1)}`).join("L");
        svg("path", into, {d: `M${outline}z`, fill: area.colour, "fill-opacity": area.alpha});
      }
      for (const [y, stroke] of across) svg("path", into, {class: "limit", stroke, d: `M0 ${this.y(y)}h${width}`});
      for (const [x, stroke] of upright) svg("path", into, {class: "mark", stroke, d: `M${this.x(x)} 0v${height}`});
    }

    // A path for each shade: a rectangle for each cell.
    density(into, cells) {
      const paths = cells.shades.map(() => "");
      cells.columns.forEach(([first, shades], column) => {
        const left = this.x(cells.x[column]), width = this.x(cells.x[column + 1]) - left;
        [...shades].forEach((shade, i) => {
          if (shade === "0") return;
          const top = this.y(cells.y[first + i + 1]), height = this.y(cells.y[first + i]) - top;
          paths[shade - 1] += `M${left.toFixed(1)} ${top.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h-${width.toFixed(1)}z`;
        });
      });
      paths.forEach((d, i) => d && svg("path", into, {d, fill: cells.shades[i], "shape-rendering": "crispEdges"}));
    }

    bars(into, each) {
      const d = each.x.map((x, i) => {
        if (!each.y[i]) return "";
        const left = this.x(x - each.width / 2), right = this.x(x + each.width / 2);
        const foot = this.y(each.base[i]), top = this.y(each.base[i] + each.y[i]);
        return `M${left} ${foot}V${top}H${Math.max(right - 0.5, left + 1)}V${foot}z`;
      }).join("");
      svg("path", into, {d, fill: each.colour});
    }

    line(into, each) {
      let d = "", pen = "M";
      each.x.forEach((x, i) => {
        if (each.y[i] === null) { pen = "M"; return; }
        const [px, py] = [this.x(x), this.y(each.y[i])].map(v => v.toFixed(1));
        if (each.line && each.step && pen === "L") d += `H${((this.x(each.x[i - 1]) + this.x(x)) / 2).toFixed(1)}V${py}H${px}`;
        else if (each.line) d += `${pen}${px} ${py}`;
        pen = "L";
        if (each.marks) svg("circle", into, {cx: px, cy: py, r: 2.2, fill: each.colour});
      });
      if (d) svg("path", into, {class: each.dashed ? "line dashed" : "line", d, stroke: each.colour});
    }

    texts(into) {
      const [width, height] = this.size;
      for (const {text, colour, x, y, high} of this.data.texts ?? [])
        x !== undefined && y !== undefined
          ? svg("text", into, {class: "note", x: this.x(x), y: this.y(y) - 6, fill: colour, "text-anchor": "middle"}, text)
          : y === undefined
          ? svg("text", into, {class: "note", x: within(this.x(x), 0, width - 6 * text.length) + 3, y: 4 + (1 - high) * height + 6, fill: colour}, text)
          : svg("text", into, {class: "note", x: width - 3, y: this.y(y) + (this.y(y) < 14 ? 12 : -3), fill: colour, "text-anchor": "end"}, text);
    }

    nearest(x) {
      const [low, high] = this.range;
      let best = null;
      this.places.forEach((place, i) => {
        if (place >= low && place <= high && (best === null || Math.abs(place - x) < Math.abs(this.places[best] - x))) best = i;
      });
      return best;
    }

    // The values at a place: of each series the point that lies nearest, where it has one there.
    values(x) {
      return this.read.flatMap(each => {
        let i = 0;
        each.x.forEach((place, j) => { if (Math.abs(place - x) < Math.abs(each.x[i] - x)) i = j; });
        const gap = Math.max(each.x[i] - (each.x[i - 1] ?? -Infinity), (each.x[i + 1] ?? Infinity) - each.x[i]);
        const reach = Number.isFinite(gap) ? gap : (each.x.at(-1) - each.x[0]) / (each.x.length - 1 || 1);
        return each.y[i] === null || Math.abs(each.x[i] - x) > 0.51 * reach + 1e-9 ? [] : [{each, at: each.x[i], y: each.y[i], i}];
      });
    }

    // An area of the series' colour is its interval: the bounds at this place, if it has any.
    interval(each, x) {
      const area = (this.data.areas ?? []).find(area => this.data.x.percentile && area.colour === each.colour);
      const bounds = area ? area.y.filter((_, i) => area.x[i] === x) : [];
      return bounds.length > 1 ? ` [${number(Math.min(...bounds))} … ${number(Math.max(...bounds))}]` : "";
    }

    show(index) {
      this.now = index;
      for (const chart of this.gallery.charts) if (chart.cursor) chart.point(index === null ? null : this.places[index]);
      this.readout.hidden = index === null;
      if (index === null) return;
      const x = this.places[index], unit = this.data.y.unit && ` ${this.data.y.unit}`;
      const axis = this.data.x, at = axis.log ? 10 ** x : x;
      const where = axis.percentile ? share(x, axis.even) : `${number(at)} ${axis.unit}`;
      const found = this.values(x).map(({each, at, y}) => [each, `${number(y)}${unit}${this.interval(each, at)}`]);
      this.readout.replaceChildren();
      html("strong", this.readout, {textContent: where});
      for (const [each, value] of found) {
        const line = html("div", this.readout);
        html("i", line, {className: "swatch line"}).style.color = each.colour;
        line.append(`${each.name}: ${value}`);
      }
      const left = LEFT + this.x(x), width = this.plot.clientWidth;
      this.readout.style.left = left < width / 2 ? `${left + 10}px` : "";
      this.readout.style.right = left < width / 2 ? "" : `${width - left + 10}px`;
      this.pointer.setAttribute("aria-valuenow", index);
      this.pointer.setAttribute("aria-valuetext", `${where}: ${found.map(([each, value]) => `${each.name} ${value}`).join(", ")}`);
    }

    point(x) {
      const inside = x !== null && x >= this.range[0] && x <= this.range[1];
      this.cursor.setAttribute("d", inside ? `M${this.x(x)} 0v${this.size[1]}` : "");
      this.dots.replaceChildren();
      for (const {each, at, y, i} of inside ? this.values(x) : [])
        svg("circle", this.dots, {cx: this.x(at), cy: this.y((each.base?.[i] ?? 0) + y), r: 3.5, fill: each.colour, class: "dot"});
    }
  }

  // A chart is made when it is first seen: a page has up to a hundred, most of them folded away.
  const seen = new ResizeObserver(entries => {
    for (const {target, contentRect} of entries) {
      if (!contentRect.width) continue;
      seen.unobserve(target);
      const about = JSON.parse(target.dataset.points), home = target.closest(".charts") ?? target;
      if (!GALLERIES.has(home)) GALLERIES.set(home, {});
      const gallery = GALLERIES.get(home)[about.x.label] ??= {charts: [], range: null};
      gallery.charts.push(new Chart(target, gallery));
    }
  });
  const figures = document.querySelectorAll("figure.chart[data-points]");
  for (const figure of figures) seen.observe(figure);
  if (!figures.length) return;
  const hint = Object.assign(document.createElement("p"), {
    className: "small hint",
    textContent: "Point at a chart to read its values, drag across it to zoom. With the keyboard: arrow keys, + and −, Escape.",
  });
  const heading = figures[0].closest("section")?.querySelector("h2");
  heading ? heading.after(hint) : (figures[0].closest("details") ?? figures[0].closest(".charts") ?? figures[0]).before(hint);
})();
