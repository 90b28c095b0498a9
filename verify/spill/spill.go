// Package spill keeps more facts than fit into memory, and gives back together those that belong
// together: each fact goes into the file that its UUID chooses, and one file after the other is
// read whole.
package spill

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Count is how many buckets there are: one for each value of a UUID's last byte, which is random in
// versions 4, 5 and 7. Reading one takes a 256th of the memory that all of the facts would take.
const Count = 256

const (
	// writeBuffer is each bucket's: 8 MiB in all.
	writeBuffer = 32 << 10
	// readBuffer is for the one bucket that is being read.
	readBuffer = 64 << 10
	// maxFact bounds what is believed of a length that was read.
	maxFact = 64 << 20

	idSize = 16
)

// Fact is something that is known of the thing that has a UUID.
type Fact interface {
	// Code codes the fields.
	Code(c *Coder)
}

// Buckets are the files. They have no name, so nothing is left of them however the process ends.
type Buckets struct {
	dir  string
	list [Count]bucket
}

type bucket struct {
	mu   sync.Mutex
	file *os.File // nil: nothing was put in yet
	out  *bufio.Writer
	size int64
}

// New keeps the files in dir; an empty dir is the system's directory for temporary files.
func New(dir string) (*Buckets, error) {
	b := &Buckets{dir: cmp.Or(dir, os.TempDir())}
	info, err := os.Stat(b.dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the directory for temporary files: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("the directory for temporary files: %s is none", b.dir)
	}
	return b, nil
}

// open makes the file.
func (b *bucket) open(dir string) error {
	file, err := os.CreateTemp(dir, "millrace-verify-*")
	if err != nil {
		return fmt.Errorf("make a temporary file: %w", err)
	}
	_ = os.Remove(file.Name()) // where open files cannot be removed, Close does it
	b.file, b.out = file, bufio.NewWriterSize(file, writeBuffer)
	return nil
}

// Close gives the disk space back.
func (b *Buckets) Close() error {
	var errs []error
	for i := range b.list {
		if file := b.list[i].file; file != nil {
			errs = append(errs, file.Close())
			_ = os.Remove(file.Name()) // it has none any more, nearly everywhere
			b.list[i].file = nil
		}
	}
	return errors.Join(errs...)
}

// Size is how many bytes were written.
func (b *Buckets) Size() (n int64) {
	for i := range b.list {
		b.list[i].mu.Lock()
		n += b.list[i].size
		b.list[i].mu.Unlock()
	}
	return n
}

// Writer puts facts into the buckets. Each goroutine needs one of its own.
type Writer struct {
	buckets *Buckets
	coder   Coder
}

// Writer returns a new writer.
func (b *Buckets) Writer() *Writer { return &Writer{buckets: b} }

// Put keeps a fact about id. tag tells the reader what kind of fact it is.
func (w *Writer) Put(id [idSize]byte, tag byte, f Fact) error {
	w.coder.buf = append(append(w.coder.buf[:0], id[:]...), tag)
	f.Code(&w.coder)
	into := &w.buckets.list[id[idSize-1]]
	into.mu.Lock()
	defer into.mu.Unlock()
	if into.file == nil {
		if err := into.open(w.buckets.dir); err != nil {
			return err
		}
	}
	var size [binary.MaxVarintLen64]byte
	head := binary.PutUvarint(size[:], uint64(len(w.coder.buf)))
	// A bufio.Writer keeps its first error.
	_, _ = into.out.Write(size[:head])
	if _, err := into.out.Write(w.coder.buf); err != nil {
		return fmt.Errorf("write a temporary file (some 6 KB are needed for each order): %w", err)
	}
	into.size += int64(head + len(w.coder.buf))
	return nil
}

// Read hands over the facts of a bucket in the order they were put in. do decodes its fact from c at
// once: what c holds is overwritten by the next one. No Put may come after the first Read.
func (b *Buckets) Read(n int, do func(id [idSize]byte, tag byte, c *Coder) error) error {
	from := &b.list[n]
	if from.file == nil {
		return nil
	}
	if err := from.out.Flush(); err != nil {
		return fmt.Errorf("write a temporary file (some 6 KB are needed for each order): %w", err)
	}
	if _, err := from.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read a temporary file: %w", err)
	}
	in := bufio.NewReaderSize(from.file, readBuffer)
	c := Coder{reading: true}
	var buf []byte
	for {
		size, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && (size <= idSize || size > maxFact) {
			err = ErrCut
		}
		if err != nil {
			return fmt.Errorf("read a temporary file: %w", err)
		}
		if uint64(cap(buf)) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if _, err := io.ReadFull(in, buf); err != nil {
			return fmt.Errorf("read a temporary file: %w", err)
		}
		c.buf = buf[idSize+1:]
		if err := do([idSize]byte(buf), buf[idSize], &c); err != nil {
			return err
		}
		if err := c.err(); err != nil {
			return err
		}
	}
}
