// Where the reference has a defect, fanfare does better. Each check is run against both: it must pass here and must find the defect
// there, or it would prove nothing. Those that take several nodes are in `defects-cluster.test.mjs`.

import { testDefects } from "./defects.mjs";
import * as connections from "./defects/connections.mjs";
import * as recovery from "./defects/recovery.mjs";
import * as sessions from "./defects/sessions.mjs";

testDefects({ ...sessions, ...connections, ...recovery });
