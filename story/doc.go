// Package story tells sagas as tests, in the order they happen: a real router process, a
// real Postgres, the Kafka protocol, and a customer who sees nothing but the REST API.
//
// What each service shows at a story's end is written down whole, in an ending. What must
// hold whatever happened (sums, at most one capture, no dead letter) is checked of each system
// when its stories are over; see audit. Beside the stories stand sagas without I/O, in drawn
// interleavings: the files named interleaving, and those named pure, which leave the store out. The files named timeout have
// the whole system in the test's own process, and each call that leaves it go wrong once. What goes wrong for good, and how it is mended, is told in
// the files named letters: a service with a bug is one whose table refuses rows (see refuses), and the
// operator has nothing but router dlq.
package story
