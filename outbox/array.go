package outbox

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// Arrays as parameters. On a connection with binary_parameters=yes they go out in Postgres's
// binary format: nothing is quoted here and nothing parsed there, which is a large part of what a
// statement with hundreds of rows costs. On any other connection they go out as text, through pq.
//
// The element type is part of the binary format: the parameter must be declared as exactly the
// array that is named here ($1::uuid[]), and be cast inside the statement if need be.
type (
	// UUIDArray is a uuid[]. An element that is no UUID makes the statement fail with an
	// InvalidElementError, before it is sent.
	UUIDArray []string
	// TextArray is a text[].
	TextArray []string
	// JSONArray is a json[].
	JSONArray [][]byte
	// ByteaArray is a bytea[]; a nil element is an empty one, as in pq.
	ByteaArray [][]byte
	// BigintArray is a bigint[].
	BigintArray []int64
	// BooleanArray is a boolean[].
	BooleanArray []bool
	// TimestamptzArray is a timestamptz[]. What is below a microsecond is cut off.
	TimestamptzArray []time.Time
	// xidArray is an xid[].
	xidArray []uint32
)

// InvalidElementError says that an array holds something its type cannot. Sending it again
// would not help.
type InvalidElementError struct {
	Element string
	Type    string // the array's, as Postgres calls it
}

// Error names the element and the type.
func (e *InvalidElementError) Error() string {
	return fmt.Sprintf("%q cannot be an element of %s", e.Element, e.Type)
}

// The types of elements, from pg_type.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidText        = 25
	oidXID         = 28
	oidJSON        = 114
	oidTimestamptz = 1184
	oidUUID        = 2950
)

const (
	// arrayHeader is the size of what comes before the elements: the number of dimensions, a flag
	// for NULLs, the elements' type, and for the one dimension its length and lower bound.
	arrayHeader = 5 * 4
	// lengthPrefix is the size of the length before each element.
	lengthPrefix = 4
)

// newArray begins an array of n elements, with room for size bytes of content.
func newArray(elementType uint32, n, size int) []byte {
	const noNulls, firstIndex = 0, 1
	b := make([]byte, 0, arrayHeader+n*lengthPrefix+size)
	dimensions := uint32(min(n, 1))
	b = binary.BigEndian.AppendUint32(b, dimensions)
	b = binary.BigEndian.AppendUint32(b, noNulls)
	b = binary.BigEndian.AppendUint32(b, elementType)
	if n == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return binary.BigEndian.AppendUint32(b, firstIndex)
}

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a UUIDArray) BinaryValue() ([]byte, error) {
	b := newArray(oidUUID, len(a), len(a)*len(uuid.UUID{}))
	for _, element := range a {
		id, err := uuid.Parse(element)
		if err != nil {
			return nil, &InvalidElementError{element, "uuid[]"}
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(id)))
		b = append(b, id[:]...)
	}
	return b, nil
}

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a TextArray) BinaryValue() ([]byte, error) {
	size := 0
	for _, element := range a {
		size += len(element)
	}
	b := newArray(oidText, len(a), size)
	for _, element := range a {
		b = binary.BigEndian.AppendUint32(b, uint32(len(element)))
		b = append(b, element...)
	}
	return b, nil
}

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a JSONArray) BinaryValue() ([]byte, error) { return binaryBytes(oidJSON, a), nil }

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a ByteaArray) BinaryValue() ([]byte, error) { return binaryBytes(oidBytea, a), nil }

func binaryBytes(elementType uint32, elements [][]byte) []byte {
	size := 0
	for _, element := range elements {
		size += len(element)
	}
	b := newArray(elementType, len(elements), size)
	for _, element := range elements {
		b = binary.BigEndian.AppendUint32(b, uint32(len(element)))
		b = append(b, element...)
	}
	return b
}

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a BigintArray) BinaryValue() ([]byte, error) {
	b := newArray(oidInt8, len(a), len(a)*8)
	for _, element := range a {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(element))
	}
	return b, nil
}

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a BooleanArray) BinaryValue() ([]byte, error) {
	b := newArray(oidBool, len(a), len(a))
	for _, element := range a {
		b = binary.BigEndian.AppendUint32(b, 1)
		if element {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b, nil
}

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a xidArray) BinaryValue() ([]byte, error) {
	b := newArray(oidXID, len(a), len(a)*4)
	for _, element := range a {
		b = binary.BigEndian.AppendUint32(b, 4)
		b = binary.BigEndian.AppendUint32(b, element)
	}
	return b, nil
}

// year2000 is where Postgres's count of microseconds begins, in microseconds since 1970.
var year2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// BinaryValue is called by pq on a connection with binary_parameters=yes.
func (a TimestamptzArray) BinaryValue() ([]byte, error) {
	b := newArray(oidTimestamptz, len(a), len(a)*8)
	for _, element := range a {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(element.UnixMicro()-year2000))
	}
	return b, nil
}

// Value is called on any other connection.
func (a UUIDArray) Value() (driver.Value, error) { return pq.StringArray(nonNil(a)).Value() }

// Value is called on any other connection.
func (a TextArray) Value() (driver.Value, error) { return pq.StringArray(nonNil(a)).Value() }

// Value is called on any other connection.
func (a JSONArray) Value() (driver.Value, error) {
	texts := make([]string, len(a))
	for i, element := range a {
		texts[i] = string(element)
	}
	return pq.StringArray(texts).Value()
}

// Value is called on any other connection.
func (a ByteaArray) Value() (driver.Value, error) { return pq.ByteaArray(nonNil(a)).Value() }

// Value is called on any other connection.
func (a BigintArray) Value() (driver.Value, error) { return pq.Int64Array(nonNil(a)).Value() }

// Value is called on any other connection.
func (a BooleanArray) Value() (driver.Value, error) { return pq.BoolArray(nonNil(a)).Value() }

// Value is called on any other connection.
func (a TimestamptzArray) Value() (driver.Value, error) {
	texts := make([]string, len(a))
	for i, element := range a {
		texts[i] = element.UTC().Format("2006-01-02 15:04:05.999999Z")
	}
	return pq.StringArray(texts).Value()
}

// Value is called on any other connection.
func (a xidArray) Value() (driver.Value, error) {
	texts := make([]string, len(a))
	for i, element := range a {
		texts[i] = strconv.FormatUint(uint64(element), 10)
	}
	return pq.StringArray(texts).Value()
}

// text is the array as Postgres writes it.
func (a TextArray) text() string {
	if len(a) == 0 {
		return "{}"
	}
	value, err := a.Value()
	text, ok := value.(string)
	if err != nil || !ok {
		panic(fmt.Sprintf("outbox: a text[] as text: %T, %v", value, err)) // pq has no such case
	}
	return text
}

// nonNil makes a nil array an empty one: nil would be NULL.
func nonNil[S ~[]E, E any](s S) S {
	if s == nil {
		return S{}
	}
	return s
}
