// What the browser's tests ask of a page, put into it before anything of its own runs.
window.checks = {
  violations: [],

  /** Draw every block once, and open everything in it. */
  async openEverything() {
    const frame = () => new Promise(requestAnimationFrame);
    for (const block of document.querySelectorAll(".block")) {
      block.scrollIntoView();
      await frame();
      await frame();
      for (const part of block.querySelectorAll("details")) part.open = true;
      await frame();
      for (const button of block.querySelectorAll("button.more")) button.click();
      await frame();
    }
    for (const part of document.querySelectorAll("main > .panel details, header details")) part.open = true;
  },

  /** Elements of a kind that a report never has. */
  strangeElements() {
    const known =
      "a header div span strong button kbd section h1 h2 p details summary table caption thead tbody tr th td pre code " +
      "dl dt dd nav main i svg rect path ul li noscript form label input output article footer dialog script";
    const names = new Set(known.split(" "));
    const found = [...document.querySelectorAll("body *")].map((element) => element.tagName.toLowerCase());
    return [...new Set(found)].filter((name) => !names.has(name));
  },

  handlers() {
    const names = [...document.querySelectorAll("*")].flatMap((element) => element.getAttributeNames());
    return names.filter((name) => name.startsWith("on") || name === "srcdoc" || name === "src");
  },

  hiddenCharacters() {
    const found = document.body.innerText.match(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu) ?? [];
    return [...new Set(found)].filter((char) => !"\n\t".includes(char)).map((char) => char.codePointAt(0).toString(16));
  },

  nameless() {
    const acting = "button, input, svg[role=img], [role=group], dialog, section";
    const named = (element) =>
      element.getAttribute("aria-label") ||
      element.getAttribute("aria-labelledby") ||
      element.innerText?.trim() ||
      element.labels?.length;
    return [...document.querySelectorAll(acting)].filter((element) => !named(element)).map((element) => element.outerHTML);
  },

  idsTwice() {
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    return ids.filter((id, place) => ids.indexOf(id) !== place);
  },

  /** Texts whose contrast is under 4.5 to 1 (WCAG 2.2, 1.4.3). */
  faintTexts() {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const pixel = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const over = (top, under) => [0, 1, 2].map((part) => under[part] + ((top[part] - under[part]) * top[3]) / 255);
    const ground = (element) => {
      const layers = [];
      for (let above = element; above; above = above.parentElement) layers.unshift(pixel(getComputedStyle(above).backgroundColor));
      return layers.reduce((under, top) => over(top, under), [255, 255, 255]);
    };
    const faint = new Set();
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const element of document.querySelectorAll("body *")) {
      const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!hasText || !element.checkVisibility() || element.closest(".unseen, .skip")) continue;
      const under = ground(element);
      const [one, other] = [light(over(pixel(getComputedStyle(element).color), under)), light(under)];
      const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      if (ratio < 4.5) faint.add(`${element.className || element.tagName} ${ratio.toFixed(2)}`);
    }
    return [...faint];
  },

  /** How long a frame takes while the page is scrolled by so many pixels in each, in milliseconds. */
  async scrolled(by) {
    document.getElementById("conversation").scrollIntoView();
    await new Promise(requestAnimationFrame);
    const frames = [];
    for (let frame = 0; frame < 200; frame += 1) {
      const begun = performance.now();
      scrollBy(0, by);
      await new Promise(requestAnimationFrame);
      frames.push(performance.now() - begun);
    }
    frames.sort((one, other) => one - other);
    return { median: frames[100], p95: frames[190], p99: frames[198], elements: document.querySelectorAll("*").length };
  },
};
addEventListener("securitypolicyviolation", (found) => {
  checks.violations.push(`${found.violatedDirective} ${found.blockedURI}`);
});
