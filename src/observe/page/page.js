
"use strict";
(() => {
  const PERIOD_MS = 5000;
  const PATIENCE_MS = 4000;
  const live = document.getElementById("live");
  const button = live.querySelector("button");
  const told = live.querySelector("span");
  let paused = false;
  let timer = 0;

  // Changes what differs and touches nothing else: no flicker, and what is selected, open or has the
  // focus stays so.
  function follow(old, fresh) {
    if (old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    const [olds, freshes] = [[...old.childNodes], [...fresh.childNodes]];
    freshes.forEach((node, place) => {
      if (place < olds.length) follow(olds[place], node);
      else old.append(document.importNode(node, true));
    });
    olds.slice(freshes.length).forEach((node) => node.remove());
  }

  async function refresh() {
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const answer = await fetch(location.href, { cache: "no-store", signal });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      follow(document.getElementById("content"), fresh.getElementById("content"));
      told.textContent = "";
    } catch {
      const since = document.getElementById("now").textContent;
      told.textContent = "No answer. This is how it was at " + since + ".";
    }
    document.documentElement.dataset.refreshed = Number(document.documentElement.dataset.refreshed || 0) + 1;
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(refresh, PERIOD_MS);
  }

  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
    plan();
  });
  document.addEventListener("visibilitychange", plan);
  live.hidden = false;
  plan();
})();
