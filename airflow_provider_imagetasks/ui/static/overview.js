// The newest pictures of a Dag, on Airflow's own overview of it.
import { useAddress } from "./address.js";
import { BatchCard, Card } from "./cards.js";
import { AirflowLink, OURS, dagPictures, h } from "./elements.js";
import { useViewer } from "./grid.js";
import { usePages } from "./pages.js";

const SHOWN = 6;

// Nothing at all of a Dag without pictures, and to whom its pictures are not shown.
export function Overview({ dagId }) {
  const address = useAddress();
  const list = usePages("api/pictures", { dag_id: dagId });
  const items = list.items.slice(0, SHOWN);
  const [viewer, onOpen] = useViewer(items, { ...list, hasMore: false }, address);
  if (!items.length) return null;
  return h(
    "section",
    { className: "it it-overview", ...OURS, "aria-label": "Newest pictures" },
    h("header", { className: "it-head" }, h("h2", null, "Newest pictures"), h(AirflowLink, { to: dagPictures(dagId), className: "it-quiet" }, "All pictures")),
    h(
      "ul",
      { className: "it-grid" },
      items.map((item) => (item.kind === "batch" ? h(BatchCard, { key: item.key, item }) : h(Card, { key: item.key, item, place: "nav", onOpen }))),
    ),
    viewer,
  );
}
