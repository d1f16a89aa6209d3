// Two to four pictures side by side, each with what it was asked for; what differs is marked.
import { Dialog, closeDialog, h, useCallback, useEffect, useState } from "./elements.js";
import { parametersOf, useRequest } from "./facts.js";
import { fileOf } from "./pictures.js";
import { cost, duration } from "./words.js";

function Column({ item, told, onTold }) {
  const request = useRequest(item);
  const picture = item.pictures.find((each) => each.link);
  const rows = [
    ["Prompt", request.prompt ?? item.prompt],
    ["Model", item.model],
    ["Service", item.service],
    ...parametersOf(request),
    ["Duration", item.duration != null ? duration(item.duration) : null],
    ["Cost", item.cost != null ? cost(item.cost, item.currency) : null],
  ].filter(([, value]) => value != null);
  const text = JSON.stringify(rows);
  useEffect(() => onTold(item.key, text), [item.key, text]);
  const differs = (name, value) => Object.values(told).some((other) => new Map(JSON.parse(other)).get(name) !== value);
  return h(
    "figure",
    { className: "it-column" },
    picture ? h("img", { src: fileOf(picture), alt: item.prompt ?? "Picture without a prompt" }) : null,
    h(
      "figcaption",
      null,
      h("dl", null, rows.map(([name, value]) => h("div", { key: name, className: differs(name, value) ? "it-differs" : "" }, h("dt", null, name), h("dd", { dir: "auto" }, value)))),
    ),
  );
}

export function Compare({ items, onClose }) {
  const [told, setTold] = useState({});
  const onTold = useCallback((key, text) => setTold((known) => ({ ...known, [key]: text })), []);
  return h(
    Dialog,
    { className: "it-viewer it-compare", label: "Side by side", onClose },
    h("div", { className: "it-side-head" }, h("h2", null, "Side by side"), h("button", { type: "button", className: "it-close", onClick: closeDialog, "aria-label": "Close" }, "×")),
    h("div", { className: "it-columns" }, items.map((item) => h(Column, { key: item.key, item, told, onTold }))),
  );
}
