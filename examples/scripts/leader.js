// An event script in JavaScript, run with node; it need not be executable. See raftctl-events(7).
//
//   [events]
//   change = "/etc/raftctl/scripts/leader.js"
//
// Arguments: EVENT ROLE CLUSTER. The facts are in the environment (RAFTCTL_...), and as one JSON
// object on standard input. Output goes to the log.
'use strict';

const fs = require('fs');

const [, role, cluster] = process.argv.slice(2);
const told = JSON.parse(fs.readFileSync(0, 'utf8'));

// Every value is a string. The token has 64 bits, more than a number holds: compare it as BigInt.
const token = told.token === '' ? null : BigInt(told.token);

switch (role) {
  case 'leader':
    // Here: tell a load balancer, attach an address, start a job. Hand the token to whatever
    // writes, so that storage can refuse a leader that was replaced.
    console.log(`${told.node} leads ${cluster} in term ${told.term} with token ${token}`);
    break;
  case 'follower':
    // Here: undo it. Must be harmless when there is nothing to undo.
    console.log(`${told.node} follows ${told.leader || 'nobody yet'} (${told.reason})`);
    break;
  default:
    console.log(`${told.node} was ${told.old_role}, is ${role} (${told.reason})`);
}
