package deadletter

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"millrace/event"
)

// Edit gives a letter another body. The message keeps its id, so that the original, should the log be read again, is
// known to be done with; the original body stays beside the new one. A body that valid refuses is not
// written.
func (d *Desk) Edit(ctx context.Context, id string, payload []byte, reason string, valid func(l *Letter) error) error {
	var edited *Letter
	err := d.change(ctx, id, func(ctx context.Context, tx *sql.Tx, l *Letter, lane lockedLane, _ map[event.OrderID]bool) error {
		switch {
		case l.Status != New && l.Status != Retrying:
			return &StatusError{id, l.Status, "new or retrying"}
		case l.Status == Retrying && lane.leased: // it may be tried as it was
			return fmt.Errorf("letter %s: %w", id, ErrInHand)
		}
		if bytes.Equal(l.Payload, payload) {
			return errUnchanged
		}
		if l.Before == nil {
			l.Before = l.Payload
		}
		detail, err := json.Marshal(map[string]string{"before": string(l.Payload), "after": string(payload)})
		if err != nil {
			return fmt.Errorf("edit letter %s: %w", id, err)
		}
		l.Payload = payload
		if err := valid(l); err != nil {
			return fmt.Errorf("the new body of letter %s is refused: %w", id, err)
		}
		if _, err := tx.ExecContext(ctx, `WITH edited AS (
	UPDATE deadletter.letters SET payload = $2, original = coalesce(original, payload) WHERE id = $1)
INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) VALUES ($1, $3, 'edited', $4, $5::json)`, id, payload, d.who, reason, string(detail)); err != nil {
			return fmt.Errorf("edit letter %s: %w", id, err)
		}
		edited = l
		return publishCopies(ctx, tx, l.Service, []*Letter{edited}) // whoever reads the topic takes the last one
	})
	if errors.Is(err, errUnchanged) {
		return fmt.Errorf("letter %s: %w", id, err)
	}
	return err
}

var errUnchanged = errors.New("the new body is the old one; nothing was written")

// MergePatch applies an RFC 7386 merge patch to a JSON document: what the patch names is set, null removes, objects
// are merged, everything else is replaced. Numbers keep their digits.
func MergePatch(document, patch []byte) ([]byte, error) {
	target, err := decodeJSON(document)
	if err != nil {
		return nil, fmt.Errorf("the body is no JSON: %w", err)
	}
	change, err := decodeJSON(patch)
	if err != nil {
		return nil, fmt.Errorf("the patch is no JSON: %w", err)
	}
	return json.Marshal(merged(target, change))
}

func decodeJSON(data []byte) (v any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) { // More takes a closing bracket for the end
		return nil, errors.New("there is something behind it")
	}
	return v, nil
}

func merged(target, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for name, value := range change {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = merged(object[name], value)
		}
	}
	return object
}
