package outbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"millrace/transport"
)

// headerBlock is a row's headers as they stand in the outbox: binaryHeaders, then for each header
// its name and its value. A name of knownHeaders is its place there plus one, one byte; any other is
// a zero, its length and its bytes. A value is its length and its bytes. Lengths are uvarints.
//
// A block may as well be a JSON object of strings: what Watermill's publisher takes in (dead letters)
// has headers nobody knows beforehand, and people read those. It begins with a brace, so the first
// byte tells.
type headerBlock []byte

// binaryHeaders is the first byte of a binary block. Another format gets another one: a relay of
// one release carries what another left behind.
const binaryHeaders = 1

// knownHeaders are the names that are written as one byte. It only ever grows at its end.
var knownHeaders = [...]string{
	HeaderUUID, HeaderCausationID, HeaderCorrelationID, HeaderSchemaVersion, HeaderID, HeaderOrderVersion,
	HeaderSource, HeaderSpecVersion, HeaderSubject, HeaderTime, HeaderType, HeaderContentType, HeaderTraceParent,
}

// typicalBlock is what an event's headers take, traceparent included, with some room.
const typicalBlock = 400

func newHeaderBlock() headerBlock {
	return append(make(headerBlock, 0, typicalBlock), binaryHeaders)
}

// add appends a header. Kafka gets the headers in the order they were added in.
func (b headerBlock) add(name, value string) headerBlock {
	if i := slices.Index(knownHeaders[:], name); i >= 0 {
		b = append(b, byte(i+1))
	} else {
		b = append(b, 0)
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

var (
	errHeaderFormat = errors.New("they are neither a JSON object nor of a binary format that this release knows")
	errHeadersCut   = errors.New("they end in the middle of a header")
)

// headers reads a block. The values are cut from it, not copied.
func (b headerBlock) headers() ([]transport.Header, error) {
	if len(b) == 0 {
		return nil, errHeaderFormat
	}
	switch b[0] {
	case '{':
		return b.fromJSON()
	case binaryHeaders:
	default:
		return nil, errHeaderFormat
	}
	list := make([]transport.Header, 0, len(knownHeaders))
	for rest := b[1:]; len(rest) > 0; {
		var h transport.Header
		code, ok := rest[0], true
		rest = rest[1:]
		switch {
		case code == 0:
			var name headerBlock
			name, rest, ok = rest.cut()
			h.Key = string(name)
		case int(code) <= len(knownHeaders):
			h.Key = knownHeaders[code-1]
		default:
			return nil, errHeaderFormat
		}
		if ok {
			h.Value, rest, ok = rest.cut()
		}
		if !ok {
			return nil, errHeadersCut
		}
		list = append(list, h)
	}
	return list, nil
}

// cut takes a length and as many bytes.
func (b headerBlock) cut() (content, rest headerBlock, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	end := size + int(n)
	return b[size:end:end], b[end:], true
}

// fromJSON sorts the headers by name, so that the same row is always the same record.
func (b headerBlock) fromJSON() ([]transport.Header, error) {
	var head map[string]string
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	list := make([]transport.Header, 0, len(head))
	for _, name := range slices.Sorted(maps.Keys(head)) {
		list = append(list, transport.Header{Key: name, Value: []byte(head[name])})
	}
	return list, nil
}
