"use strict";
// Draws the list of sessions again when one begins or ends.

const data = JSON.parse(document.getElementById("data").textContent);
const source = new EventSource(data.live);
source.addEventListener("changed", () => location.reload());
addEventListener("pagehide", () => source.close());
document.documentElement.dataset.ready = "yes";
