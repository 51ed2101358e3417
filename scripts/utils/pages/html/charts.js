(() => {
  const chart = find("chart"), readout = find("readout");
  const selects = Array.from(document.querySelectorAll(".choices select"));
  const NARROW = 700;  // pixels, as in the style
  const ENTRY = 20;  // pixels of a line of the legend
  const AXIS = {gridcolor: "#ececf0", linecolor: "#b5b5bb", zerolinecolor: "#dcdce0", automargin: true};
  let at = null;  // where the arrow keys are: [trace, point], of a heatmap the point is [row, column]

  const isHeatmap = trace => trace.type === "heatmap";
  const walkable = trace => trace.hoverinfo !== "skip";

  // The page's looks on a figure of the data, for the width there is.
  function dressed(figure, width, small) {
    const narrow = width < NARROW, traces = structuredClone(figure.data), layout = structuredClone(figure.layout);
    const named = traces.filter(trace => !isHeatmap(trace) && trace.showlegend !== false).length;
    const rows = Math.ceil(named / Math.max(1, Math.floor(width / 190)));
    Object.assign(layout, {autosize: true, paper_bgcolor: "#fff", margin: {l: 56, r: 16, t: 16, b: 64},
      font: {family: 'system-ui, -apple-system, "Segoe UI", sans-serif', size: small || narrow ? 11 : 13, color: "#1c1c1e"},
      hoverlabel: {align: "left", bgcolor: "#fff", bordercolor: "#aaa", font: {size: 12, color: "#1c1c1e"}, namelength: -1}});
    for (const name of ["xaxis", "yaxis", "xaxis2", "yaxis2"]) if (layout[name]) layout[name] = {...AXIS, ...layout[name]};
    if (narrow && named && !small) {
      layout.height += rows * ENTRY;
      layout.legend = {orientation: "h", y: -70 / (layout.height - 90 - rows * ENTRY), yanchor: "top"};
    }
    for (const trace of traces) {
      if (trace.meta in (data.hover || {})) trace.hovertext = data.hover[trace.meta];
      if (isHeatmap(trace) && (small || narrow) && trace.x.length > 6) delete trace.texttemplate;
      if (isHeatmap(trace) && narrow) delete trace.colorbar.title;
    }
    if (small) {
      layout.showlegend = false;
      delete layout.height;
      layout.margin = {l: 40, r: 6, t: 6, b: 36};
    }
    return [traces, layout];
  }

  function choose() {
    at = null;
    readout.hidden = true;
    show();
  }

  function show() {
    const view = data.views[selects.map(select => select.value).join("/")];
    document.getElementById("title").textContent = view ? view.title : "";
    if (!view) {
      Plotly.purge(chart);
      const nothing = document.createElement("p");
      nothing.className = "nothing";
      nothing.textContent = "Nothing was computed for this choice.";
      chart.replaceChildren(nothing);
      return;
    }
    if (chart.querySelector(".nothing")) chart.replaceChildren();
    Plotly.react(chart, ...dressed(view.figure, chart.clientWidth, false), {responsive: true, displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: {filename: data.name}});
  }

  // The text of a point, without Plotly's escapes.
  function words(text) {
    return text.replaceAll("<br>", "\n").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  }

  const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));

  // One step from where the keys are; the first key press goes to the first point.
  function walk(across, up) {
    const traces = chart.data, can = traces.map((_, index) => index).filter(index => walkable(traces[index]));
    if (!can.length) return;
    if (!at) {
      at = [can[0], isHeatmap(traces[can[0]]) ? [0, 0] : 0];
    } else if (isHeatmap(traces[at[0]])) {
      const z = traces[at[0]].z;
      at[1] = [clamp(at[1][0] + up, z.length), clamp(at[1][1] + across, z[0].length)];
    } else {
      const trace = can[clamp(can.indexOf(at[0]) - up, can.length)];
      at = [trace, clamp(at[1] + across, traces[trace].x.length)];
    }
    const [trace, point] = at, texts = traces[trace].hovertext;
    Plotly.Fx.hover(chart, [isHeatmap(traces[trace]) ? {curveNumber: trace, xval: point[1], yval: point[0]}
      : {curveNumber: trace, pointNumber: point}]);
    readout.textContent = words(typeof texts === "string" ? texts : Array.isArray(point) ? texts[point[0]][point[1]] : texts[point]);
    readout.hidden = false;
  }

  if (!window.Plotly) {
    const missing = document.createElement("p");
    missing.className = "error";
    missing.textContent = "plotly.min.js is not beside this page: nothing can be drawn.";
    document.querySelector("main").prepend(missing);
    return;
  }
  document.querySelectorAll(".picture").forEach((picture, index) => {
    Plotly.newPlot(picture, ...dressed(data.previews[index].figure, picture.clientWidth, true), {staticPlot: true, responsive: true});
  });
  if (!chart) return;
  data.first.split("/").forEach((value, index) => { selects[index].value = value; });
  selects.forEach(select => select.addEventListener("change", choose));
  chart.addEventListener("keydown", event => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    walk(...step);
  });
  let narrow = chart.clientWidth < NARROW;
  window.addEventListener("resize", () => {
    if (narrow !== (chart.clientWidth < NARROW)) show();
    narrow = chart.clientWidth < NARROW;
  });
  show();
})();
