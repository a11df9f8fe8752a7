// Brings what changes, as the coordinator sends it. Without scripts the page is the same, and stands still.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;

  // Only what differs is touched: what somebody has focused, selected or scrolled to stays where it is, and a screen
  // reader hears of a warning once.
  const become = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    children(old, fresh);
  };
  const children = (old, fresh) => {
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    after.forEach((child, n) => (before[n] ? become(before[n], child) : old.append(child)));
    before.slice(after.length).forEach((child) => child.remove());
  };

  const told = document.getElementById("connection");
  const tell = (text) => {
    if (told && told.textContent !== text) told.textContent = text;
  };
  const events = new EventSource("/events");
  events.onmessage = (event) => {
    // Made by the coordinator, which escapes all that others wrote.
    const fresh = document.createElement("template");
    fresh.innerHTML = event.data;
    children(live, fresh.content);
    live.classList.remove("stale");
    tell("live");
  };
  events.onerror = () => {
    live.classList.add("stale");
    tell("the coordinator does not answer; trying again");
  };
})();
