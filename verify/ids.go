package verify

import (
	"crypto/sha1" // what a UUIDv5 is made of; nothing here is a secret
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// id is a UUID.
type id [16]byte

func (i id) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", i[:4], i[4:6], i[6:8], i[8:10], i[10:])
}

// canonicalLength is that of a UUID's usual form.
const canonicalLength = 36

// orderID reads the form that an order's id has as a key: 36 characters, lower case.
func orderID(s string) (id, bool) {
	if len(s) != canonicalLength || strings.ToLower(s) != s {
		return id{}, false
	}
	return canonical(s)
}

// canonical reads 36 characters in either case.
func canonical(s string) (i id, ok bool) {
	if len(s) != canonicalLength || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id{}, false
	}
	to := i[:0]
	for _, part := range []string{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
		raw, err := hex.DecodeString(part)
		if err != nil {
			return id{}, false
		}
		to = append(to, raw...)
	}
	return i, true
}

// anyUUID reads the forms a UUID comes in from elsewhere: plain, as a URN, in braces, without hyphens.
func anyUUID(s string) (id, bool) {
	const urn, braces, bare = "urn:uuid:", 2, 32
	switch len(s) {
	case canonicalLength + len(urn):
		if !strings.EqualFold(s[:len(urn)], urn) {
			return id{}, false
		}
		s = s[len(urn):]
	case canonicalLength + braces:
		s = s[1 : 1+canonicalLength]
	case bare:
		raw, err := hex.DecodeString(s)
		if err != nil {
			return id{}, false
		}
		return id(raw), true
	}
	return canonical(s)
}

// The name spaces of the ids that are made of what came. docs/wire.md says when; a test compares
// the results with what the router makes.
var (
	foreignSpace = [16]byte{0x0d, 0x5f, 0x8f, 0x5e, 0x7a, 0x53, 0x4f, 0x0f, 0x8a, 0x4e, 0x6f, 0x3a, 0x9c, 0x1b, 0x2e, 0x77}
	placeSpace   = [16]byte{0x6b, 0x0e, 0x2f, 0x4c, 0x5d, 0x0f, 0x5b, 0x43, 0x9a, 0x52, 0x5a, 0x8b, 0x5c, 0x6f, 0x7d, 0x11}
)

func version5(space [16]byte, name []byte) id {
	sum := sha1.Sum(append(space[:], name...))
	sum[6] = sum[6]&0x0f | 5<<4
	sum[8] = sum[8]&0x3f | 0x80
	return id(sum[:16])
}

// eventID is the id by which services know a record that came again: its ce_id, else Watermill's,
// else one made of its place; what is no UUID becomes one.
func eventID(ceID, watermillID, source, topic string, partition int32, offset int64) id {
	name := ceID
	if name == "" {
		name = watermillID
	}
	if name == "" {
		place := append([]byte(topic), 0)
		place = binary.BigEndian.AppendUint32(place, uint32(partition))
		place = binary.BigEndian.AppendUint64(place, uint64(offset))
		return version5(placeSpace, place)
	}
	if i, ok := anyUUID(name); ok {
		return i
	}
	return version5(foreignSpace, []byte(source+"/"+name))
}

// partitionOf is where Kafka's own clients put a key: murmur2, as the Java client has it.
func partitionOf(key []byte, partitions int32) int32 {
	const (
		seed  = 0x9747b28c
		m     = 0x5bd1e995
		r     = 24
		shift = 13
		last  = 15
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key)
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> shift
	h *= m
	h ^= h >> last
	return int32(h&0x7fffffff) % partitions
}
