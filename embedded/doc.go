// Package embedded brings the two servers Millrace needs to a machine that has
// neither: a Kafka broker inside this process, and a private Postgres beside it.
// Both keep what they were given through a restart, a kill -9 and a power cut,
// in one data directory that belongs to one process at a time.
//
// They are for one machine: the broker has no replicas and listens on loopback
// only, and Postgres listens on no network at all. Nothing here ever deletes a
// data directory.
package embedded
