// Package story tells sagas as tests, in the order they happen: a real router process, a
// real Postgres, the Kafka protocol, and a customer who sees nothing but the REST API.
//
// What each service shows at a story's end is written down whole, in an ending. What must
// hold whatever happened (sums, at most one capture, no dead letter) is checked of each system
// when its stories are over; see audit. Beside the stories stand sagas without I/O, in drawn
// interleavings: the files named interleaving.
package story
