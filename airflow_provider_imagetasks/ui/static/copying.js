// Copies a text to the clipboard, and says on its button that it did.
import { Button, h, useState } from "./elements.js";

export function Copy({ label, text }) {
  const [told, setTold] = useState(label);
  const copy = async () => {
    const content = typeof text === "function" ? text() : text;
    let isDone = true;
    try {
      await navigator.clipboard.writeText(content);
    } catch {
      // Browsers refuse the clipboard to pages without https.
      isDone = copyBySelection(content);
    }
    setTold(isDone ? "Copied" : "Cannot be copied here");
    setTimeout(() => setTold(label), 2000);
  };
  return h(Button, { onClick: copy, "aria-live": "polite" }, told);
}

function copyBySelection(text) {
  const dialog = document.querySelector("dialog.it-viewer");
  const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
  (dialog ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  return isDone;
}

// A value as Python writes it.
export function python(value, indent = "") {
  if (value == null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const isList = Array.isArray(value);
  const parts = isList ? value.map((each) => python(each, inner)) : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each, inner)}`);
  const [before, after] = isList ? "[]" : "{}";
  const line = `${before}${parts.join(", ")}${after}`;
  return line.length < 80 && !line.includes("\n") ? line : `${before}\n${parts.map((part) => `${inner}${part},\n`).join("")}${indent}${after}`;
}

export function operatorCall(item, request) {
  const given = {
    task_id: item.task_id.split(".").at(-1),
    prompt: request.prompt ?? item.prompt,
    model: request.model ?? item.model,
    options: Object.keys(request.options ?? {}).length ? request.options : null,
    images: request.images?.length ? request.images.map((image) => image.uri) : null,
    mask: request.mask?.uri,
    conn_id: item.conn_id,
  };
  const cut = (request.cut ?? []).filter((name) => name in given).map((name) => `    # ${name}: Airflow has kept only a part of it\n`);
  const lines = Object.entries(given)
    .filter(([, value]) => value != null)
    .map(([name, value]) => `    ${name}=${python(value, "    ")},\n`);
  return `ImageTaskSubmitOperator(\n${cut.join("")}${lines.join("")})\n`;
}
