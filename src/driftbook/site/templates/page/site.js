(function () {
  "use strict";
  var root = document.documentElement;
  var theme = document.querySelector(".theme-button");
  var menu = document.querySelector(".menu-button");
  var side = document.getElementById("site-nav");
  function shown() {
    var dark = root.classList.contains("dark");
    theme.textContent = dark ? "Light" : "Dark";
    theme.setAttribute("aria-label", dark ? "Switch to light colours" : "Switch to dark colours");
    theme.setAttribute("aria-pressed", String(dark));
  }
  theme.addEventListener("click", function () {
    var dark = root.classList.toggle("dark");
    try { localStorage.setItem("driftbook-theme", dark ? "dark" : "light"); } catch (error) { /* not kept */ }
    shown();
  });
  menu.addEventListener("click", function () {
    menu.setAttribute("aria-expanded", String(side.classList.toggle("open")));
  });
  shown();
  document.querySelectorAll("main .highlight, main pre").forEach(function (block) {
    if (block.closest("details.code") || block.parentElement.closest(".highlight")) { return; }
    var button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", function () {
      var text = (block.querySelector("code") || block.querySelector("pre") || block).textContent.replace(/Copy$/, "").trim();
      navigator.clipboard.writeText(text).then(
        function () { button.textContent = "Copied"; },
        function () { button.textContent = "Press Ctrl+C"; getSelection().selectAllChildren(block); }
      );
    });
    block.append(button);
  });
})();
