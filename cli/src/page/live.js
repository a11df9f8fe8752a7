// Replaces what changes by what the coordinator sends. Without scripts the page is the same, and stands still.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const events = new EventSource("/events");
  const told = document.getElementById("connection");
  events.onmessage = (event) => {
    // Made by the coordinator, which escapes all that others wrote.
    live.innerHTML = event.data;
    live.classList.remove("stale");
    if (told) told.textContent = "live";
  };
  events.onerror = () => {
    live.classList.add("stale");
    if (told) told.textContent = "the coordinator does not answer; trying again";
  };
})();
