// The stories through HAProxy, which keeps each client at its node by a cookie, or sends every request to the next node.

import { tellStories } from "./stories.mjs";
import { nats, redis } from "./testbed/backends.mjs";

tellStories("three nodes over Redis behind HAProxy with cookie affinity", redis, { balanced: "cookie" });
tellStories("three nodes over Redis behind HAProxy without affinity, polling", redis, { balanced: "round robin" });
tellStories("three nodes over NATS behind HAProxy without affinity, with upgrade", nats, {
  balanced: "round robin",
  transports: ["polling", "websocket"],
});
