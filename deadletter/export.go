package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"millrace/deadletter/filter"
	"millrace/deadletter/plural"
	"millrace/event"
)

// Body is a body in JSON, byte for byte: as JSON where it is some, without needless space and unseen characters, which
// writers of JSON may change; else as text where it is text, else in base64.
type Body struct {
	JSON   json.RawMessage `json:"payload,omitempty"`
	Text   *string         `json:"payloadText,omitempty"`
	Base64 []byte          `json:"payloadBase64,omitempty"`
}

// NewBody writes a body.
func NewBody(data []byte) Body {
	var compact bytes.Buffer
	switch {
	case !utf8.Valid(data):
		return Body{Base64: data}
	case json.Compact(&compact, data) == nil && bytes.Equal(compact.Bytes(), data) && bytes.IndexFunc(data, unseen) < 0:
		return Body{JSON: data}
	default:
		text := string(data)
		return Body{Text: &text}
	}
}

func unseen(r rune) bool { return !unicode.IsPrint(r) }

// Bytes is the body; an error where it is given in several ways. One that is not given at all is empty.
func (b Body) Bytes() ([]byte, error) {
	ways, data := 0, []byte{}
	if b.JSON != nil {
		ways, data = ways+1, b.JSON
	}
	if b.Text != nil {
		ways, data = ways+1, []byte(*b.Text)
	}
	if b.Base64 != nil {
		ways, data = ways+1, b.Base64
	}
	if ways > 1 {
		return nil, errors.New("the body is given twice: one of payload, payloadText and payloadBase64")
	}
	return data, nil
}

// Line is a letter as it is shown to scripts, and written by an export, one a line. Nothing of the letter is lost.
type Line struct {
	ID            string  `json:"id"`
	Status        Status  `json:"status"`
	Fingerprint   string  `json:"group"`
	Service       string  `json:"service"`
	Group         string  `json:"consumerGroup"`
	Handler       string  `json:"handler"`
	OrderID       string  `json:"orderId,omitempty"`
	MessageID     string  `json:"messageId"`
	CorrelationID string  `json:"correlationId,omitempty"`
	Topic         string  `json:"topic"`
	Partition     int32   `json:"partition"`
	Offset        int64   `json:"offset"`
	Key           *string `json:"key,omitempty"`       // where it is text
	KeyBase64     []byte  `json:"keyBase64,omitempty"` // where it is not; neither is a record without a key
	// Headers with a value that is not text are in base64, under their name and "_base64".
	Headers map[string]string `json:"headers"`
	Body
	// Original is the body as it came, where somebody has edited it.
	Original    *Body     `json:"original,omitempty"`
	PublishedAt time.Time `json:"publishedAt"`
	Attempts    int       `json:"attempts"`
	ErrorType   string    `json:"errorType"`
	Error       string    `json:"error"`
	FirstFailed time.Time `json:"firstFailed"`
	LastFailed  time.Time `json:"lastFailed"`
	Version     string    `json:"version"` // the build that failed
}

// NewLine writes a letter.
func NewLine(l *Letter) Line {
	line := Line{
		ID: l.ID, Status: l.Status, Service: l.Service, Group: l.Group, Handler: l.Handler, OrderID: l.OrderID, MessageID: l.MessageID,
		CorrelationID: l.CorrelationID, Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Headers: l.textHeaders(), Body: NewBody(l.Payload),
		PublishedAt: l.PublishedAt.UTC(), Attempts: l.Attempts, ErrorType: l.ErrorType, Error: l.Error,
		FirstFailed: l.FirstFailed.UTC(), LastFailed: l.LastFailed.UTC(), Version: l.Version,
	}
	if l.Status != Parked {
		line.Fingerprint = l.Fingerprint()
	}
	if l.Key != nil {
		if text := string(l.Key); utf8.Valid(l.Key) {
			line.Key = &text
		} else {
			line.KeyBase64 = l.Key
		}
	}
	if l.Before != nil {
		original := NewBody(l.Before)
		line.Original = &original
	}
	return line
}

// Letter reads a line. The error says what of it cannot be: a letter without its ids, or of another message than it says.
func (x *Line) Letter() (*Letter, error) {
	body, err := x.Bytes()
	if err != nil {
		return nil, err
	}
	l := &Letter{
		ID: x.ID, Status: x.Status, Service: x.Service, Group: x.Group, Handler: x.Handler, OrderID: x.OrderID, MessageID: x.MessageID,
		CorrelationID: x.CorrelationID, Topic: x.Topic, Partition: x.Partition, Offset: x.Offset, Key: x.KeyBase64, Headers: x.Headers, Payload: body,
		PublishedAt: x.PublishedAt, Attempts: x.Attempts, ErrorType: x.ErrorType, Error: x.Error,
		FirstFailed: x.FirstFailed, LastFailed: x.LastFailed, Version: x.Version,
	}
	if x.Key != nil {
		l.Key = []byte(*x.Key)
	}
	if x.Original != nil {
		if l.Before, err = x.Original.Bytes(); err != nil {
			return nil, fmt.Errorf("original: %w", err)
		}
	}
	if l.Headers == nil {
		l.Headers = map[string]string{}
	}
	return l, l.check()
}

// check is what the tables and the redriver rely on.
func (l *Letter) check() error {
	var missing, unwritable []string
	for _, field := range []struct {
		name, value string
		needed      bool
	}{
		{"status", string(l.Status), true}, {"service", l.Service, true}, {"consumerGroup", l.Group, true}, {"handler", l.Handler, true}, {"messageId", l.MessageID, true}, {"topic", l.Topic, true},
		{"correlationId", l.CorrelationID, false}, {"errorType", l.ErrorType, false}, {"error", l.Error, false}, {"version", l.Version, false},
	} {
		if field.needed && field.value == "" {
			missing = append(missing, field.name)
		}
		if strings.ContainsRune(field.value, 0) {
			unwritable = append(unwritable, field.name)
		}
	}
	switch {
	case len(missing) > 0:
		return fmt.Errorf("%s %s missing", strings.Join(missing, ", "), plural.Word(len(missing), "is", "are"))
	case len(unwritable) > 0:
		return fmt.Errorf("%s %s a character 0, which no text here can hold", strings.Join(unwritable, ", "), plural.Word(len(unwritable), "has", "have"))
	}
	if _, err := uuid.Parse(l.MessageID); err != nil || !l.HasOwnID() {
		return fmt.Errorf("id %q is not that of message %q for group %q", l.ID, l.MessageID, l.Group)
	}
	if l.OrderID != "" && l.OrderID != string(l.Key) {
		return fmt.Errorf("orderId is %q, but the key is %q", l.OrderID, l.Key)
	}
	if l.OrderID != "" {
		if _, err := event.ParseOrderID(l.OrderID); err != nil {
			return fmt.Errorf("orderId: %w", err)
		}
	}
	if l.FirstFailed.IsZero() || l.LastFailed.IsZero() || l.PublishedAt.IsZero() {
		return errors.New("firstFailed, lastFailed and publishedAt are needed")
	}
	if l.Partition < 0 || l.Attempts < 0 {
		return errors.New("partition and attempts are not negative")
	}
	return nil
}

// exportPage is how many letters Export holds at a time; the largest have megabytes.
const exportPage = 50

// Export calls do for each letter that meets a filter, the oldest first, and, withParked, for what is parked behind it,
// right after it. What changes meanwhile may be seen before or after.
func (d *Desk) Export(ctx context.Context, f filter.Condition, withParked bool, do func(*Letter) error) error {
	n := len(f.Args)
	query := fmt.Sprintf("%s AND (%s) AND position > $%d ORDER BY position LIMIT %d", listed, f.SQL, n+1, exportPage)
	for after := int64(0); ; {
		list, err := letters(ctx, d.db, query, append(f.Args[:n:n], after)...)
		if err != nil {
			return fmt.Errorf("export letters: %w", err)
		}
		for _, l := range list {
			if err := do(l); err != nil {
				return err
			}
			if !withParked || !l.Status.Open() {
				continue
			}
			if err := d.exportParked(ctx, l, do); err != nil {
				return err
			}
		}
		if len(list) < exportPage {
			return nil
		}
		after = list[len(list)-1].Position
	}
}

// exportParked is for what lies between a letter and the next one of its lane.
func (d *Desk) exportParked(ctx context.Context, l *Letter, do func(*Letter) error) error {
	for after := l.Position; ; {
		list, err := letters(ctx, d.db, fmt.Sprintf("service = $1 AND lane = $2 AND position > $3 AND %s ORDER BY position LIMIT %d", open, exportPage), l.Service, l.lane(), after)
		if err != nil {
			return fmt.Errorf("export what is parked behind letter %s: %w", l.ID, err)
		}
		for _, behind := range list {
			if behind.Status != Parked {
				return nil // it is exported by itself, if it is wanted
			}
			if err := do(behind); err != nil {
				return err
			}
			after = behind.Position
		}
		if len(list) < exportPage {
			return nil
		}
	}
}
