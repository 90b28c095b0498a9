// Package rig is what a run of the bench stands on: one Postgres, one broker, the processes beside them.
package rig

// Rig is the servers of one run.
type Rig struct{}
