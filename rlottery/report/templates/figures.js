(function () {
  const SPACE = "http://www.w3.org/2000/svg";
  const NEAR = 28; // pixels from the pointer to a point that it may mean

  const dataOf = function (figure) {
    if (!figure.numbers) figure.numbers = JSON.parse(figure.querySelector("script.data").textContent);
    return figure.numbers;
  };

  const lengthOf = function (data, block) {
    const lists = Object.values(block.each);
    return lists.length ? data.lists[lists[0]].length : 1;
  };

  const valueOf = function (data, block, column, row) {
    const value = column in block.each ? data.lists[block.each[column]][row] : block.same[column];
    return value === undefined ? null : value;
  };

  const shown = function (data, value, format) {
    if (value === null) return "";
    if (typeof value !== "number") return value;
    const decimals = format === "%" ? 0 : format === "v" ? Math.min(Math.max(data.decimals, 0), 20) : 0;
    if (format === "v" && (data.exponent || Math.abs(value) >= 1e15)) {
      return value.toExponential(decimals).replace(/-/g, "\u2212");
    }
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    if (format === "%") return (100 * value).toLocaleString("en", { maximumFractionDigits: 1 }) + " %";
    return value.toLocaleString("en", digits).replace("-", "\u2212").replace(/^\u2212(0(\.0*)?)$/, "$1");
  };

  const wordsOf = function (data, block, row) {
    return block.words.replace(/\{(\w+)(?::([v%]))?\}/g, function (all, column, format) {
      return shown(data, valueOf(data, block, column, row), format);
    }).replace(/ +/g, " ");
  };

  // Where points are: at the values of a column, all at one place, each at its own, or (null) along the whole axis.
  const placeOf = function (data, block, axis, row) {
    const place = block[axis];
    return typeof place === "string" ? valueOf(data, block, place, row) : Array.isArray(place) ? place[row] : place;
  };

  // The points of a panel, in the coordinates of its figure.
  const pointsOf = function (svg) {
    if (svg.points) return svg.points;
    const data = dataOf(svg.closest("figure")), panel = Number(svg.dataset.panel);
    const scale = data.scales[panel], box = svg.viewBox.baseVal, points = [];
    data.blocks.forEach(function (block, number) {
      if (!block.panels.includes(panel)) return;
      for (let row = 0; row < lengthOf(data, block); row += 1) {
        const x = placeOf(data, block, "x", row), y = placeOf(data, block, "y", row);
        if (y === null) continue;
        const at = { x: x === null ? null : scale[0] + scale[1] * x, y: scale[2] + scale[3] * y, block: number, row: row };
        if (at.y >= box.y && at.y <= box.y + box.height) points.push(at);
      }
    });
    svg.points = points;
    return points;
  };

  const startPoints = function () {
    const tip = document.createElement("div");
    tip.className = "tip point";
    tip.setAttribute("role", "status");
    tip.hidden = true;
    document.body.append(tip);
    const ring = document.createElementNS(SPACE, "circle");
    ring.setAttribute("class", "ring");
    let current = null;

    const hide = function () {
      tip.hidden = true;
      ring.remove();
    };
    const show = function (svg, index, pointerX) {
      const point = pointsOf(svg)[index], figure = svg.closest("figure"), data = dataOf(figure);
      const box = svg.viewBox.baseVal, x = point.x !== null ? point.x : pointerX !== undefined ? pointerX : box.x + box.width / 2;
      current = { svg: svg, index: index };
      ring.setAttribute("cx", x);
      ring.setAttribute("cy", point.y);
      ring.setAttribute("r", 5);
      svg.append(ring);
      const words = wordsOf(data, data.blocks[point.block], point.row);
      if (tip.textContent !== words) tip.textContent = words;
      tip.hidden = false;
      const place = new DOMPoint(x, point.y).matrixTransform(svg.getScreenCTM());
      const width = document.documentElement.clientWidth;
      tip.style.left = Math.max(8, Math.min(place.x + 12, width - tip.offsetWidth - 8)) + window.scrollX + "px";
      const above = place.y - tip.offsetHeight - 14;
      tip.style.top = (above > 60 ? above : place.y + 14) + window.scrollY + "px";
    };
    const nearest = function (svg, event) {
      const scale = svg.getScreenCTM();
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(scale.inverse());
      let best = -1, least = Math.pow(NEAR / scale.a, 2);
      pointsOf(svg).forEach(function (point, index) {
        const apart = Math.pow(point.x === null ? 0 : point.x - at.x, 2) + Math.pow(point.y - at.y, 2);
        if (apart < least) { least = apart; best = index; }
      });
      if (best < 0) hide(); else show(svg, best, at.x);
    };
    const keys = function (event) {
      const svg = event.currentTarget, points = pointsOf(svg);
      if (event.key === "Escape") { hide(); return; }
      if (!points.length) return;
      let index = current && current.svg === svg ? current.index : 0;
      const block = points[index].block;
      const first = function (number) { return points.findIndex(function (point) { return point.block === number; }); };
      if (event.key === "ArrowRight") index = Math.min(index + 1, points.length - 1);
      else if (event.key === "ArrowLeft") index = Math.max(index - 1, 0);
      else if (event.key === "ArrowDown") index = points.findIndex(function (point) { return point.block > block; });
      else if (event.key === "ArrowUp") index = first(points[Math.max(first(block) - 1, 0)].block);
      else return;
      event.preventDefault();
      if (index >= 0) show(svg, index);
    };
    document.querySelectorAll(".panels > svg").forEach(function (svg) {
      svg.addEventListener("pointermove", function (event) { nearest(svg, event); });
      svg.addEventListener("click", function (event) { nearest(svg, event); });
      svg.addEventListener("pointerleave", function (event) { if (event.pointerType === "mouse") hide(); });
      svg.addEventListener("focus", function () {
        if (svg.matches(":focus-visible") && pointsOf(svg).length) show(svg, 0);
      });
      svg.addEventListener("blur", hide);
      svg.addEventListener("keydown", keys);
    });
  };

  // A field of CSV. Text that a spreadsheet would run as a formula gets an apostrophe.
  const field = function (value) {
    if (value === null) return "";
    if (typeof value === "number") return String(value);
    const text = /^\s*['"]?\s*[=+\-@\uff1d\uff0b\uff0d\uff20|%]/.test(value) ? "'" + value : value;
    return /[\s,;|"]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  };

  const asCsv = function (figure) {
    const data = dataOf(figure), lines = [data.columns.map(field).join(",")];
    data.blocks.forEach(function (block) {
      for (let row = 0; row < lengthOf(data, block); row += 1) {
        lines.push(data.columns.map(function (column) { return field(valueOf(data, block, column, row)); }).join(","));
      }
    });
    return lines.join("\n") + "\n";
  };

  // The whole figure with its legend, in the light theme: its panels have the coordinates of one figure.
  const asSvg = function (figure) {
    const box = figure.querySelector("svg.rest").viewBox.baseVal, root = document.createElementNS(SPACE, "svg");
    const add = function (name, attributes) {
      const made = document.createElementNS(SPACE, name);
      Object.entries(attributes).forEach(function (pair) { made.setAttribute(pair[0], pair[1]); });
      root.append(made);
      return made;
    };
    root.setAttributeNS("http://www.w3.org/2000/xmlns/", "xmlns:xlink", "http://www.w3.org/1999/xlink");
    // Whole pixels, of which a point of the figure has 4/3.
    const width = Math.ceil(box.width * 4 / 3), height = Math.ceil(box.height * 4 / 3);
    const paper = { width: width * 3 / 4, height: height * 3 / 4, fill: "#ffffff" };
    root.setAttribute("viewBox", [0, 0, paper.width, paper.height].join(" "));
    root.setAttribute("width", width);
    root.setAttribute("height", height);
    root.setAttribute("stroke-linejoin", "round");
    add("title", {}).textContent = figure.querySelector(".panels").getAttribute("aria-label");
    add("rect", paper);
    const letters = add("defs", {});
    figure.querySelectorAll(".panels > svg, svg.rest").forEach(function (svg) {
      Array.from(svg.children).forEach(function (part) {
        if (!part.matches(".ring")) root.append(part.cloneNode(true));
      });
    });
    const used = new Set(Array.from(root.querySelectorAll("use"), function (use) { return use.getAttribute("href"); }));
    used.forEach(function (name) {
      if (name.startsWith("#letter-")) letters.append(document.getElementById(name.slice(1)).cloneNode(true));
    });
    // Colours are named by their values in the light theme. Some programs know only the older name of `href`.
    const text = new XMLSerializer().serializeToString(root).replace(/var\(--figure-([0-9a-f]{6})\)/g, "#$1");
    return text.replace(/ href="/g, ' xlink:href="');
  };

  const asPng = function (figure, then) {
    const text = asSvg(figure), picture = new Image();
    picture.onload = function () {
      const canvas = document.createElement("canvas");
      canvas.width = 2 * picture.width;
      canvas.height = 2 * picture.height;
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      const bytes = window.atob(canvas.toDataURL("image/png").split(",")[1]);
      then(new Blob([Uint8Array.from(bytes, function (byte) { return byte.charCodeAt(0); })], { type: "image/png" }));
    };
    picture.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  };

  const save = function (blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    window.setTimeout(function () { URL.revokeObjectURL(link.href); }, 60000);
  };

  const startSaving = function (buttons) {
    const figure = buttons.closest("figure");
    buttons.hidden = false;
    buttons.addEventListener("click", function (event) {
      const button = event.target.closest("[data-save]");
      if (!button) return;
      const form = button.dataset.save, name = figure.dataset.figure + "." + form;
      if (form === "csv") save(new Blob([asCsv(figure)], { type: "text/csv" }), name);
      if (form === "svg") save(new Blob([asSvg(figure)], { type: "image/svg+xml" }), name);
      if (form === "png") asPng(figure, function (blob) { save(blob, name); });
    });
  };

  document.addEventListener("DOMContentLoaded", function () {
    startPoints();
    document.querySelectorAll("figure .save").forEach(startSaving);
  });
}());
