package router_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/yaml"

	"millrace/outbox"
	"millrace/router"
	"millrace/topic"
	"millrace/transport"
)

// object is a JSON object; encoding/json writes it in the order of its keys, so that
// the document is the same each time.
type object = map[string]any

const schemaRefs = "#/components/schemas/"

// docs/asyncapi.yaml says in AsyncAPI 3.0 what docs/wire.md says in words; run with
// -update to write it.
func TestAsyncAPIIsFresh(t *testing.T) {
	channels, operations, messages := object{}, object{}, object{}
	schemas := huma.NewMapRegistry(schemaRefs, huma.DefaultSchemaNamer)
	for _, row := range router.Flow(router.Services{}).Rows() {
		info, _ := topic.Named(row.Topic)
		e, err := info.Decode([]byte(`{"orderId":"0199c0de-0000-7000-8000-000000000001"}`)) // for its type
		if err != nil {
			t.Fatal(err)
		}
		channel := object{"$ref": "#/channels/" + info.Event}
		channels[info.Event] = object{
			"address": info.Name, "description": info.Intent + ".",
			"messages": object{info.Event: object{"$ref": "#/components/messages/" + info.Event}},
			"bindings": object{"kafka": object{"topic": info.Name, "bindingVersion": "0.5.0"}},
		}
		messages[info.Event] = object{
			"name": info.Event, "contentType": "application/json",
			"headers":  object{"$ref": schemaRefs + "Headers"},
			"payload":  schemas.Schema(reflect.TypeOf(e), true, ""),
			"bindings": object{"kafka": object{"key": object{"$ref": schemaRefs + "OrderID"}, "bindingVersion": "0.5.0"}},
			"examples": []any{object{"payload": golden(t, info.Event)}},
		}
		operations[row.Publisher+"-says-"+info.Event] = object{"action": "send", "channel": channel}
		for _, consumer := range row.Consumers {
			operations[consumer+"-hears-"+info.Event] = object{"action": "receive", "channel": channel,
				"bindings": object{"kafka": object{"groupId": object{"type": "string", "const": consumer + "-service"}, "bindingVersion": "0.5.0"}}}
		}
	}
	bodies := object{"Headers": headers(), "OrderID": object{"type": "string", "format": "uuid", "description": "The order's id, a UUID in lower case."}}
	words := readEvents(t)
	for name, schema := range schemas.Map() {
		words.add(schema, schemas.TypeFromRef(schemaRefs+name))
		bodies[name] = schema
	}
	document, err := json.Marshal(object{
		"asyncapi": "3.0.0", "defaultContentType": "application/json",
		"info": object{"title": "Millrace", "version": apiVersion,
			"description": "What the services say to each other. Fields are only ever added; readers ignore those they do not know."},
		"channels": channels, "operations": operations,
		"components": object{"messages": messages, "schemas": bodies},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := yaml.Convert(&out, bytes.NewReader(document)); err != nil {
		t.Fatal(err)
	}
	fresh(t, "../docs/asyncapi.yaml", out.Bytes())
}

// golden is the event as it lies on the wire, from package event's own test.
func golden(t *testing.T, name string) json.RawMessage {
	t.Helper()
	data, err := os.ReadFile("../event/testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func headers() object {
	id := object{"type": "string", "format": "uuid"}
	text := func(description string) object { return object{"type": "string", "description": description} }
	return object{"type": "object", "properties": object{
		transport.UUIDHeader:       text("The event's id, where Watermill looks for it; ce_id wins."),
		outbox.HeaderSpecVersion:   object{"type": "string", "const": "1.0"},
		outbox.HeaderID:            id,
		outbox.HeaderType:          text("The event's name."),
		outbox.HeaderSource:        text("The service that says it."),
		outbox.HeaderTime:          object{"type": "string", "format": "date-time", "description": "The publisher's database clock."},
		outbox.HeaderSubject:       object{"$ref": schemaRefs + "OrderID"},
		outbox.HeaderSchemaVersion: text("A whole number; a newer one than known becomes a dead letter."),
		outbox.HeaderOrderVersion:  text("The publisher's counter for this order: 1, 2, 3 … over all its topics, no gap. Left out by publishers that keep none."),
		outbox.HeaderCorrelationID: text("Of the request that began it."),
		outbox.HeaderCausationID:   text("Of the event that caused it."),
		outbox.HeaderContentType:   object{"type": "string", "const": "application/json"},
		outbox.HeaderTraceParent:   text("W3C trace context, where there is one."),
	}}
}

// eventWords are what package event says about its types in comments and constants.
type eventWords struct {
	types  map[string]string            // a type's comment
	values map[string][]any             // the constants of a type
	fields map[string]map[string]string // comments of a type's fields
}

func readEvents(t *testing.T) eventWords {
	t.Helper()
	files, err := filepath.Glob("../event/*.go")
	if err != nil {
		t.Fatal(err)
	}
	w := eventWords{map[string]string{}, map[string][]any{}, map[string]map[string]string{}}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			declaration, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range declaration.Specs {
				switch spec := s.(type) {
				case *ast.TypeSpec:
					w.types[spec.Name.Name] = comment(declaration.Doc)
					if of, ok := spec.Type.(*ast.StructType); ok {
						w.fields[spec.Name.Name] = fieldComments(of)
					}
				case *ast.ValueSpec:
					if typ, ok := spec.Type.(*ast.Ident); ok && declaration.Tok == token.CONST {
						value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
						if err != nil {
							t.Fatal(err)
						}
						w.values[typ.Name] = append(w.values[typ.Name], value)
					}
				}
			}
		}
	}
	return w
}

func fieldComments(of *ast.StructType) map[string]string {
	comments := map[string]string{}
	for _, f := range of.Fields.List {
		for _, name := range f.Names {
			comments[name.Name] = comment(f.Doc)
		}
	}
	return comments
}

func comment(group *ast.CommentGroup) string {
	return strings.Join(strings.Fields(group.Text()), " ")
}

// add puts the words into the schema of a type.
func (w eventWords) add(schema *huma.Schema, typ reflect.Type) {
	schema.AdditionalProperties = nil // unknown fields are ignored, not refused
	schema.Description = w.types[typ.Name()]
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		property := schema.Properties[name]
		if comment := w.fields[typ.Name()][field.Name]; comment != "" {
			property.Description = comment
		}
		property.Enum = w.values[field.Type.Name()]
		if field.Type.Name() == "OrderID" {
			*property = huma.Schema{Ref: schemaRefs + "OrderID"}
		}
	}
}
