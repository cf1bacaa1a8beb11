// What tests ask of a page that shows a notebook, in JupyterLab or in Notebook 6.5. Only `act` and `unfold` change what is shown.
window.looks = (() => {
  const outputs = (cell) =>
    [...document.querySelectorAll(".jp-Notebook .jp-Cell, #notebook-container > .cell")][cell].querySelectorAll(
      '.jp-OutputArea-output[data-mime-type="text/html"], .output_subarea.output_html',
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

  const lab = {
    acts: { run: "notebook:run-all-cells", save: "docmanager:save" },
    act: (name) => jupyterapp.commands.execute(lab.acts[name]),
    loaded: () => !document.querySelector("#jupyterlab-splash"),
    idle: () => {
      const kernel = jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel;
      return kernel?.connectionStatus === "connected" && kernel.status === "idle";
    },
  };
  const classic = {
    acts: {
      run: async (notebook) => {
        // What a page asks of a new kernel must be over: a widget that is made meanwhile is sometimes lost.
        await notebook.kernel.widget_manager._loadFromKernel();
        notebook.execute_all_cells();
      },
      save: (notebook) => notebook.save_notebook(),
    },
    act: async (name) => classic.acts[name](Jupyter.notebook),
    loaded: () => Jupyter.notebook?._fully_loaded,
    idle: () => {
      const { kernel, kernel_busy } = Jupyter.notebook;
      return kernel?.widget_manager && kernel.is_connected() && !kernel_busy && !document.querySelector(".cell.running");
    },
  };
  const front = () => (window.Jupyter ? classic : lab);

  let running = 0;
  const act = (name) => {
    running += 1;
    front().act(name).finally(() => (running -= 1));
  };
  const done = () => running === 0;
  const loaded = () => front().loaded();
  const idle = () => front().idle();
  return { act, done, loaded, idle, outputs, shapes, written, invisible, outside, faint, unfold, settled };
})();
