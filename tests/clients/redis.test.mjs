// The stories over Redis.

import { tellStories } from "./stories.mjs";
import { redis } from "./testbed/backends.mjs";

tellStories("three nodes over Redis", redis);
