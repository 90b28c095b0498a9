package spill

import (
	"encoding/binary"
	"errors"
)

// Coder writes the fields of a fact, or reads them: the same list of calls does both, so the two
// cannot disagree about what comes in which order. What is read past the end is zero, and an error
// in the end.
type Coder struct {
	buf     []byte
	reading bool
	cut     bool
	names   map[string]string // texts that come again and again, one copy of each
}

// ErrCut means that a fact ends in the middle of a field: the file is damaged.
var ErrCut = errors.New("spill: a fact ends in the middle of a field")

// maxNames bounds the texts that are kept for being read again.
const maxNames = 4096

// Number codes an integer of any size.
func Number[T ~int | ~int32 | ~int64 | ~uint8](c *Coder, v *T) {
	if !c.reading {
		c.buf = binary.AppendVarint(c.buf, int64(*v))
		return
	}
	n, size := binary.Varint(c.buf)
	if size <= 0 {
		c.cut, c.buf, *v = true, nil, 0
		return
	}
	c.buf, *v = c.buf[size:], T(n)
}

// Hash codes an integer all of whose bits are used.
func (c *Coder) Hash(v *uint64) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint64(c.buf, *v)
		return
	}
	var b [8]byte
	c.bytes(b[:])
	*v = binary.BigEndian.Uint64(b[:])
}

// ID codes a UUID.
func (c *Coder) ID(v *[16]byte) {
	if !c.reading {
		c.buf = append(c.buf, v[:]...)
		return
	}
	c.bytes(v[:])
}

// Flags codes some booleans, eight to a byte.
func (c *Coder) Flags(list ...*bool) {
	for len(list) > 0 {
		n := min(len(list), 8)
		var b [1]byte
		if !c.reading {
			for i, v := range list[:n] {
				if *v {
					b[0] |= 1 << i
				}
			}
			c.buf = append(c.buf, b[0])
		} else {
			c.bytes(b[:])
			for i, v := range list[:n] {
				*v = b[0]&(1<<i) != 0
			}
		}
		list = list[n:]
	}
}

// Text codes a text.
func (c *Coder) Text(v *string) {
	if raw, ok := c.text(v); ok {
		*v = string(raw)
	}
}

// Name codes a text of which there are few different ones: read, they share their memory.
func (c *Coder) Name(v *string) {
	raw, ok := c.text(v)
	if !ok {
		return
	}
	if known, ok := c.names[string(raw)]; ok {
		*v = known
		return
	}
	*v = string(raw)
	if c.names == nil {
		c.names = map[string]string{}
	}
	if len(c.names) < maxNames {
		c.names[*v] = *v
	}
}

// text writes a text, or returns the bytes of the one that comes next.
func (c *Coder) text(v *string) (raw []byte, read bool) {
	n := len(*v)
	Number(c, &n)
	if !c.reading {
		c.buf = append(c.buf, *v...)
		return nil, false
	}
	if n < 0 || n > len(c.buf) {
		c.cut, c.buf = true, nil
		return nil, true
	}
	raw, c.buf = c.buf[:n], c.buf[n:]
	return raw, true
}

// Each codes a list, element by element.
func Each[T any](c *Coder, list *[]T, one func(*T)) {
	n := len(*list)
	Number(c, &n)
	if c.reading {
		*list = nil
		if n < 0 || n > len(c.buf) { // each element takes a byte at least
			c.cut, c.buf = true, nil
			return
		}
		if n > 0 {
			*list = make([]T, n)
		}
	}
	for i := range *list {
		one(&(*list)[i])
	}
}

// Reading tells which of the two it does: what is behind a pointer must be made first.
func (c *Coder) Reading() bool { return c.reading }

func (c *Coder) bytes(to []byte) {
	if len(c.buf) < len(to) {
		clear(to)
		c.cut, c.buf = true, nil
		return
	}
	copy(to, c.buf)
	c.buf = c.buf[len(to):]
}

// err is what is wrong with a fact that was read.
func (c *Coder) err() error {
	if c.cut || len(c.buf) > 0 {
		return ErrCut
	}
	return nil
}
