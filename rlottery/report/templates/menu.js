(function () {
  // On narrow screens the list of contents is folded behind a button. Without a script it is always there.
  document.addEventListener("DOMContentLoaded", function () {
    const nav = document.querySelector(".top nav"), button = document.querySelector("[data-menu]");
    if (!nav || !button) return;
    const fold = function (folded) {
      nav.dataset.folded = String(folded);
      button.setAttribute("aria-expanded", String(!folded));
    };
    button.hidden = false;
    fold(true);
    button.addEventListener("click", function () { fold(nav.dataset.folded !== "true"); });
    document.addEventListener("click", function (event) {
      if (!button.contains(event.target)) fold(true);
    });
    nav.addEventListener("keydown", function (event) {
      if (event.key !== "Escape" || nav.dataset.folded === "true") return;
      fold(true);
      button.focus();
    });
  });
}());
