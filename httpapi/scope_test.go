package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"millrace/httpapi"
	"millrace/httpapi/auth"
)

func newGuardedAPI(t *testing.T) (api *httpapi.API, log interface{ String() string }) {
	t.Helper()
	digest := func(key string) string { d := sha256.Sum256([]byte(key)); return hex.EncodeToString(d[:]) }
	keys, err := auth.ParseKeys("shop:" + digest("k-shop") + ":shop,ops:" + digest("k-ops") + ":operator,all:" + digest("k-all") + ":shop+operator")
	if err != nil {
		t.Fatal(err)
	}
	api, log = newAPI(t, httpapi.Config{Auth: keys})
	for path, security := range map[string][]map[string][]string{
		"/shop": httpapi.Scope(httpapi.ScopeShop), "/operator": httpapi.Scope(httpapi.ScopeOperator),
		"/either": httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator), "/public": httpapi.Public(), "/forgotten": nil,
	} {
		huma.Register(api.Huma, huma.Operation{OperationID: "op" + path, Method: http.MethodGet, Path: path, Security: security},
			func(ctx context.Context, _ *struct{}) (*struct{ Body string }, error) {
				return &struct{ Body string }{httpapi.Caller(ctx)}, nil
			})
	}
	return api, log
}

func TestScopes(t *testing.T) {
	api, _ := newGuardedAPI(t)
	for key, want := range map[string]map[string]int{
		"":        {"/shop": 401, "/operator": 401, "/either": 401, "/public": 200, "/forgotten": 401, "/openapi.json": 200, "/nowhere": 404},
		"k-wrong": {"/shop": 401, "/operator": 401, "/either": 401, "/public": 200, "/forgotten": 401},
		"k-shop":  {"/shop": 200, "/operator": 403, "/either": 200, "/public": 200, "/forgotten": 403},
		"k-ops":   {"/shop": 403, "/operator": 200, "/either": 200, "/public": 200, "/forgotten": 200},
		"k-all":   {"/shop": 200, "/operator": 200, "/either": 200, "/public": 200, "/forgotten": 200},
	} {
		for path, status := range want {
			for _, header := range [][2]string{{"X-API-Key", key}, {"Authorization", "Bearer " + key}, {"Authorization", "bearer  " + key}} {
				w := send(t, api, "GET", path, "", header[0], header[1])
				if w.Code != status {
					t.Errorf("%v on %s: %d, want %d", header, path, w.Code, status)
				}
				if status == 401 || status == 403 {
					problem(t, w, status, path)
					if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
						t.Errorf("%v on %s: no challenge", header, path)
					}
				}
			}
		}
	}
}

func TestOtherSchemesAreNoCredential(t *testing.T) {
	api, _ := newGuardedAPI(t)
	problem(t, send(t, api, "GET", "/shop", "", "Authorization", "Basic k-shop"), 401, "/shop")
}

func TestCallerIsTheKeysName(t *testing.T) {
	api, log := newGuardedAPI(t)
	if got := send(t, api, "GET", "/shop", "", "X-API-Key", "k-all").Body.String(); got != "\"all\"\n" {
		t.Errorf("caller %s", got)
	}
	if got := send(t, api, "GET", "/public", "", "X-API-Key", "k-all").Body.String(); got != "\"anonymous\"\n" {
		t.Errorf("caller of a public operation %s", got)
	}
	if !strings.Contains(log.String(), "caller=all") || strings.Contains(log.String(), "k-all") {
		t.Errorf("log: %s", log)
	}
}

func TestNobodyIsAskedWithoutAuth(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	get(api, "/caller", func(ctx context.Context) (string, error) { return httpapi.Caller(ctx), nil })
	if got := send(t, api, "GET", "/caller", "").Body.String(); got != "\"anonymous\"\n" {
		t.Errorf("caller %s", got)
	}
}

func TestUnauthenticatedBodiesAreNotRead(t *testing.T) {
	api, _ := newGuardedAPI(t)
	problem(t, send(t, api, "PUT", "/baskets/1", "not JSON"), 401, "/baskets/1")
}
