// As much of Plotly as the pages use. Its own types are those of TypeScript's DefinitelyTyped, many times its size.
type Trace = import("../../../scripts/utils/pages/html/charts/dressed.js").Trace;

interface PlotlyElement extends HTMLElement {
  data: Trace[];
  on(event: string, listener: () => void): void;
}

declare const Plotly: {
  react(element: Element, traces: Trace[], layout: object, config: object): Promise<void>;
  purge(element: Element): void;
  Fx: {hover(element: Element, points: object[]): void};
};
