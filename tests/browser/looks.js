// What tests ask of a page that shows a notebook. Only `command` and `unfold` change what is shown.
window.looks = (() => {
  const outputs = (cell) =>
    [...document.querySelectorAll(".jp-Notebook .jp-Cell")][cell].querySelectorAll(
      '.jp-OutputArea-output[data-mime-type="text/html"]',
    );

  // Elements with their attributes, styles as the browser understood them, and text.
  const shape = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    const attributes = [...node.attributes].filter(({ name }) => name !== "style");
    const named = attributes.map(({ name, value }) => `${name}=${value}`).sort();
    return [node.localName, ...named, node.style.cssText, [...node.childNodes].map(shape)];
  };
  const shapes = (root) => [...root.childNodes].map(shape);
  const written = (html) => shapes(new DOMParser().parseFromString(html, "text/html").body);

  const folded = (element) => {
    const details = element.parentElement?.closest("details:not([open])");
    return details && (!element.closest("summary") || folded(details));
  };
  const words = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) if (walker.currentNode.data.trim()) found.push(walker.currentNode);
    return found.filter((text) => !folded(text.parentElement));
  };
  const rects = (text) => {
    const range = document.createRange();
    range.selectNodeContents(text);
    return [...range.getClientRects()];
  };

  const invisible = (root) =>
    words(root).filter((text) => !rects(text).some(({ width, height }) => width && height)).map(({ data }) => data);

  const scrolls = (element, root) =>
    element && element !== root && (getComputedStyle(element).overflowX === "auto" || scrolls(element.parentElement, root));
  const outside = (root) => {
    const { left, right } = root.getBoundingClientRect();
    const over = (text) => rects(text).some((rect) => rect.left < left - 1 || rect.right > right + 1);
    return words(root).filter((text) => !scrolls(text.parentElement, root) && over(text)).map(({ data }) => data);
  };

  const colour = (css) => {
    const [red, green, blue, alpha = 1] = css.match(/[\d.]+/g).map(Number);
    return { rgb: [red, green, blue], alpha };
  };
  const mix = (front, back, alpha) => front.map((part, index) => part * alpha + back[index] * (1 - alpha));
  const luminance = (rgb) => {
    const linear = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ancestors = (element) => (element ? [...ancestors(element.parentElement), element] : []);
  // WCAG's contrast ratio, from 1 to 21.
  const contrast = (element) => {
    let back = [255, 255, 255];
    let strength = 1;
    for (const part of ancestors(element)) {
      const { backgroundColor, opacity } = getComputedStyle(part);
      const { rgb, alpha } = colour(backgroundColor);
      back = mix(rgb, back, alpha);
      strength *= Number(opacity);
    }
    const { rgb, alpha } = colour(getComputedStyle(element).color);
    const [dark, light] = [luminance(back), luminance(mix(rgb, back, alpha * strength))].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const faint = (root, least) =>
    words(root)
      .map((text) => [contrast(text.parentElement), text.data])
      .filter(([ratio]) => ratio < least);

  const unfold = (root) => root.querySelectorAll("details").forEach((details) => (details.open = true));
  const settled = () => [...document.images].every((image) => image.complete);

  let running = 0;
  const command = (name) => {
    running += 1;
    jupyterapp.commands.execute(name).finally(() => (running -= 1));
  };
  const done = () => running === 0;
  const idle = () => {
    const kernel = jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === "connected" && kernel.status === "idle";
  };
  return { command, done, idle, outputs, shapes, written, invisible, outside, faint, unfold, settled };
})();
