// The stories through HAProxy: clients stay with polling, and a cookie keeps each at its node.

import { tellStories } from "./stories.mjs";
import { redis } from "./testbed/backends.mjs";

tellStories("three nodes over Redis behind HAProxy with cookie affinity", redis, { balanced: true });
