// The stories over NATS.

import { tellStories } from "./stories.mjs";
import { nats } from "./testbed/backends.mjs";

tellStories("three nodes over NATS", nats);
