"use strict";
(function () {
  const root = document.documentElement;
  const remembered = function (name, value) {
    // Browsers may deny storage to a page opened from a file.
    try {
      if (value === undefined) return window.localStorage.getItem(name);
      window.localStorage.setItem(name, value);
    } catch (error) { /* the choice is not remembered */ }
    return null;
  };
  const chosen = remembered("rlottery-theme");
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;

  const isDark = function () {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return window.matchMedia("(prefers-color-scheme: dark)").matches;
  };

  const startTheme = function () {
    const button = document.querySelector("[data-toggle-theme]");
    const label = function () {
      button.querySelector("[data-theme-name]").textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    };
    button.hidden = false;
    button.addEventListener("click", function () {
      root.dataset.theme = isDark() ? "light" : "dark";
      remembered("rlottery-theme", root.dataset.theme);
      label();
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
    label();
  };

  const compare = function (column, numeric, direction) {
    return function (one, other) {
      const a = one.cells[column], b = other.cells[column];
      if (numeric) {
        const x = a.dataset.order, y = b.dataset.order;
        // Unknown values come last in both directions.
        if (x === "" || y === "") return (x === "") - (y === "");
        return direction * (Number(x) - Number(y));
      }
      return direction * a.textContent.trim().localeCompare(b.textContent.trim(), "en", { numeric: true });
    };
  };

  const startSorting = function (table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    const body = table.tBodies[0];
    heads.forEach(function (head, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", function () {
        const falls = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (each) { each.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", falls ? "descending" : "ascending");
        const numeric = head.classList.contains("number");
        const rows = Array.from(body.rows).sort(compare(column, numeric, falls ? -1 : 1));
        body.append.apply(body, rows);
      });
    });
  };

  const startFilters = function (form) {
    const rows = Array.from(document.getElementById("table-" + form.dataset.filters).tBodies[0].rows);
    const choices = Array.from(form.querySelectorAll("[data-filter]"));
    const text = form.querySelector("[data-filter-text]");
    const counter = form.querySelector("[data-filter-count]");
    const apply = function () {
      const wanted = text.value.trim().toLowerCase();
      let shown = 0;
      rows.forEach(function (row) {
        const fits = choices.every(function (choice) {
          return choice.value === "" || row.getAttribute("data-" + choice.dataset.filter) === choice.value;
        }) && row.textContent.toLowerCase().includes(wanted);
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      counter.textContent = shown + " of " + rows.length;
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("reset", function () { window.setTimeout(apply, 0); });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    apply();
  };

  const startContents = function () {
    if (!("IntersectionObserver" in window)) return;
    const links = new Map();
    document.querySelectorAll(".top nav a").forEach(function (link) { links.set(link.hash.slice(1), link); });
    const observer = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        const link = links.get(entry.target.id);
        if (!link || !entry.isIntersecting) return;
        links.forEach(function (each) { each.classList.remove("here"); });
        link.classList.add("here");
      });
    }, { rootMargin: "-20% 0px -70% 0px" });
    document.querySelectorAll("main > section").forEach(function (section) { observer.observe(section); });
  };

  // The definition of a term, from the glossary at the end of the page, on hover and on keyboard focus.
  const startTerms = function () {
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.id = "tip";
    tip.setAttribute("role", "tooltip");
    tip.hidden = true;
    document.body.append(tip);
    let described = null;
    const hide = function () {
      tip.hidden = true;
      if (described) described.removeAttribute("aria-describedby");
      described = null;
    };
    const show = function (event) {
      const term = event.target instanceof Element ? event.target.closest("[data-term]") : null;
      const definition = term && document.getElementById(term.dataset.term);
      if (!definition) { if (event.type === "mouseover" && !tip.contains(event.target)) hide(); return; }
      hide();
      described = term.matches("a") ? term : term.querySelector("button") || term;
      described.setAttribute("aria-describedby", "tip");
      tip.textContent = definition.textContent;
      tip.hidden = false;
      const box = term.getBoundingClientRect(), width = document.documentElement.clientWidth;
      tip.style.left = Math.max(8, Math.min(box.left, width - tip.offsetWidth - 8)) + window.scrollX + "px";
      const below = box.bottom + tip.offsetHeight + 8 < window.innerHeight;
      tip.style.top = (below ? box.bottom + 4 : box.top - tip.offsetHeight - 4) + window.scrollY + "px";
    };
    document.addEventListener("mouseover", show);
    document.addEventListener("focusin", show);
    document.addEventListener("focusout", hide);
    document.addEventListener("keydown", function (event) { if (event.key === "Escape") hide(); });
  };

  document.addEventListener("DOMContentLoaded", function () {
    startTheme();
    document.querySelectorAll("table[data-sortable]").forEach(startSorting);
    document.querySelectorAll("form[data-filters]").forEach(startFilters);
    startContents();
    startTerms();
  });
}());
