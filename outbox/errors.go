package outbox

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lib/pq"
)

// kind is what the store does about an error of the database.
type kind int

const (
	// passing: nothing is wrong with the data. Everything is run again.
	passing kind = iota
	// guilty: one member's data caused it, and would cause it again.
	guilty
	// lockTimeout: somebody held a row for longer than we wait.
	lockTimeout
)

// SQLSTATE classes and codes, from the Postgres manual, appendix A.
const (
	classDataException        = "22"
	classIntegrityViolation   = "23"
	classConnection           = "08"
	classInsufficientResource = "53"
	classOperatorIntervention = "57"
	classObjectState          = "55"
	classAccessRule           = "42"
	codeUniqueViolation       = "23505"
	codeLockNotAvailable      = "55P03"
	codeSerializationFailure  = "40001"
	codeDeadlockDetected      = "40P01"
	codeQueryCanceled         = "57014"
)

func kindOf(err error) kind {
	if errors.Is(err, errMemoryHeld) {
		return lockTimeout
	}
	var invalid *InvalidElementError
	if errors.As(err, &invalid) {
		return guilty
	}
	var e *pq.Error
	if !errors.As(err, &e) {
		return passing
	}
	switch {
	case e.Code == codeLockNotAvailable:
		return lockTimeout
	case e.Code.Class() == classDataException, e.Code.Class() == classIntegrityViolation:
		return guilty
	default:
		return passing
	}
}

// IsRefused tells whether the database refused the data itself (SQLSTATE classes 22 and 23): it would
// do so again. In a transaction of many it is one's fault, and the others get through without it.
func IsRefused(err error) bool { return err != nil && kindOf(err) == guilty }

// StateOf is what Postgres calls an error: its SQLSTATE, and the name of the constraint or, where none is told, of the
// column that it is about. Both are empty where the error is not Postgres's; name is, where it is about neither.
func StateOf(err error) (code, name string) {
	var e *pq.Error
	if !errors.As(err, &e) {
		return "", ""
	}
	return string(e.Code), cmp.Or(e.Constraint, e.Column)
}

// tookTooLong tells whether a transaction came to its limit: half of it may not.
func tookTooLong(err error) bool {
	code, _ := StateOf(err)
	return code == codeQueryCanceled || errors.Is(err, context.DeadlineExceeded)
}

func isUniqueViolation(err error) bool {
	var e *pq.Error
	return errors.As(err, &e) && e.Code == codeUniqueViolation
}

// IsTransient tells whether an error of the database, or of the connection to it, may
// pass by itself. It is a closed list: what is not on it is not transient.
func IsTransient(err error) bool {
	var e *pq.Error
	if errors.As(err, &e) {
		switch e.Code.Class() {
		case classConnection, classInsufficientResource, classObjectState, classOperatorIntervention:
			return true
		}
		return e.Code == codeSerializationFailure || e.Code == codeDeadlockDetected
	}
	var netErr net.Error
	return errors.Is(err, errHeld) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &netErr)
}

// RefusedError is what the caller gets whose data the database refused (SQLSTATE
// classes 22 and 23). It is permanent.
type RefusedError struct{ err error }

// Error says what the database said.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the database refused the update: %v", e.err)
}

// Unwrap is the database's error.
func (e *RefusedError) Unwrap() error { return e.err }

// Permanent is true.
func (e *RefusedError) Permanent() bool { return true }

// ErrParked is what the caller gets of a message whose order waits at this service behind a dead
// letter. Nothing was changed. It is permanent, as far as trying again is concerned: the message is to be
// put behind that letter.
var ErrParked error = parkedError{}

type parkedError struct{}

func (parkedError) Error() string {
	return "the order waits behind a dead letter of this service"
}

func (parkedError) Permanent() bool { return true }
