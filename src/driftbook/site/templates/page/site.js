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
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function (event) {
    try { if (localStorage.getItem("driftbook-theme")) { return; } } catch (error) { /* nothing was chosen */ }
    root.classList.toggle("dark", event.matches);
    shown();
  });
  var coded = document.querySelector(".code-button");
  if (coded) {
    coded.addEventListener("click", function () {
      var open = coded.getAttribute("aria-pressed") !== "true";
      document.querySelectorAll("main details.code").forEach(function (fold) { fold.open = open; });
      coded.setAttribute("aria-pressed", String(open));
      coded.textContent = open ? "Hide code" : "Show code";
    });
  }
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

  /* Search: the index is a script beside the pages, read when the field is first used. */
  var field = document.getElementById("search-field"), list = document.getElementById("search-found");
  var status = document.querySelector(".search-status"), MOST = 12;
  function load() {
    if (window.driftbookSections || document.getElementById("search-script")) { return; }
    var script = document.createElement("script");
    script.id = "search-script";
    script.src = "search-index.js";
    script.onload = find;
    document.head.append(script);
  }
  function score(section, words) {
    var page = section.page.toLowerCase(), head = section.head.toLowerCase(), text = section.text.toLowerCase(), sum = 0;
    for (var i = 0; i < words.length; i += 1) {
      var part = (head.indexOf(words[i]) >= 0 ? 6 : 0) + (page.indexOf(words[i]) >= 0 ? 3 : 0) + (text.indexOf(words[i]) >= 0 ? 1 : 0);
      if (!part) { return 0; }
      sum += part;
    }
    /* Pages of past runs come after those of this one. */
    return section.at.indexOf("run-") === 0 ? sum / 10 : sum;
  }
  function excerpt(text, word) {
    var at = Math.max(0, text.toLowerCase().indexOf(word) - 40);
    return (at ? "…" : "") + text.slice(at, at + 110) + (text.length > at + 110 ? "…" : "");
  }
  function close() { list.hidden = true; }
  /* Arrows walk from the field through what was found and back; Escape returns to the field. */
  function walk(event) {
    var links = Array.prototype.slice.call(list.querySelectorAll("a")), at = links.indexOf(document.activeElement);
    if (event.key === "Escape") { close(); field.focus(); return; }
    if (list.hidden || !links.length || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) { return; }
    event.preventDefault();
    at += event.key === "ArrowDown" ? 1 : -1;
    (at < 0 ? field : links[Math.min(at, links.length - 1)]).focus();
  }
  function find() {
    var words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    close();
    list.textContent = "";
    status.textContent = "";
    if (!words.length || !window.driftbookSections) { return; }
    var found = window.driftbookSections
      .map(function (section) { return { section: section, score: score(section, words) }; })
      .filter(function (one) { return one.score > 0; })
      .sort(function (a, b) { return b.score - a.score; });
    status.textContent = found.length ? found.length + " found" : "Nothing found";
    found.slice(0, MOST).forEach(function (one) {
      var item = document.createElement("li"), link = document.createElement("a"), what = document.createElement("span");
      link.href = one.section.at;
      link.textContent = one.section.page + (one.section.head ? " › " + one.section.head : "");
      what.textContent = excerpt(one.section.text, words[0]);
      link.append(what);
      link.addEventListener("click", close);
      item.append(link);
      list.append(item);
    });
    list.hidden = !found.length;
  }
  field.addEventListener("focus", load);
  field.addEventListener("input", find);
  document.querySelector(".search").addEventListener("keydown", walk);
  field.addEventListener("keydown", function (event) {
    var first = list.querySelector("a");
    if (event.key === "Enter" && !list.hidden && first) { event.preventDefault(); first.click(); }
  });
})();
