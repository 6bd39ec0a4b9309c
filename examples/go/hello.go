// A service that signs in at callboard. Go 1.21 or newer, standard library only.
//
//	Run it:     go run examples/go/hello.go
//	Call it:    curl http://127.0.0.1:8080/hello/world
//	Settings:   CALLBOARD, SERVICE, INSTANCE_ID, PORT, ADDRESS (see examples/README.md)
//
// To put a service of your own on callboard, keep stay, leave and call, and replace hello.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

var (
	callboard  = env("CALLBOARD", "http://127.0.0.1:8500")
	service    = env("SERVICE", "hello")
	instanceID = env("INSTANCE_ID", fmt.Sprintf("%s-%d", hostname(), os.Getpid()))
	url        = fmt.Sprintf("%s/api/v1/services/%s/instances/%s", callboard, service, instanceID)
)

// hello is the service itself: /health says it is well, anything else says who answered.
func hello(w http.ResponseWriter, r *http.Request) {
	body, _ := json.Marshal(map[string]string{"language": "go", "instance": instanceID, "path": r.URL.RequestURI()})
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// stay keeps this instance signed in until leaving is done.
func stay(port int, leaving context.Context) {
	registration := map[string]any{
		"port": port,
		// Without a heartbeat for this long, callboard doubts us.
		"lease": map[string]any{"ttl": "5s"},
		// And it asks for itself as well.
		"check":      map[string]any{"http": map[string]string{"path": "/health"}},
		"metadata":   map[string]string{"language": "go"},
		"generation": time.Now().UnixMilli(), // a late call of an earlier life is refused
	}
	if address := os.Getenv("ADDRESS"); address != "" { // else callboard takes the address this call comes from
		registration["address"] = address
	}
	var renewAfter time.Duration // zero: not signed in yet
	for leaving.Err() == nil {
		pause := time.Second // callboard is away: keep serving, keep asking
		signedIn := renewAfter > 0
		var status int
		var err error
		if signedIn {
			status, err = call("PUT", url+"/lease", nil, nil, 3*time.Second)
		} else {
			var member struct {
				Lease struct {
					RenewAfter string `json:"renew_after"` // 250ms, 4.7s
				}
			}
			if status, err = call("PUT", url, registration, &member, 3*time.Second); err == nil {
				renewAfter, err = time.ParseDuration(member.Lease.RenewAfter)
			}
		}
		switch {
		case status == http.StatusNotFound && signedIn: // callboard does not know us: sign in again
			renewAfter, pause = 0, 0
		case err != nil:
			log.Printf("callboard at %s: %v", callboard, err)
		default:
			if !signedIn {
				fmt.Printf("signed in as %s/%s\n", service, instanceID)
			}
			pause = renewAfter
		}
		select {
		case <-time.After(pause):
		case <-leaving.Done():
		}
	}
}

// leave signs out: callboard sends nothing new, and answers when nothing is in flight.
func leave() {
	var answer json.RawMessage
	if _, err := call("DELETE", url+"?drain=10s", nil, &answer, 15*time.Second); err != nil {
		log.Printf("callboard: %v; the lease will run out", err)
		return
	}
	fmt.Printf("left: %s\n", answer)
}

// call sends body and reads the answer into answer, where they are not nil.
func call(method, url string, body, answer any, timeout time.Duration) (int, error) {
	content := new(bytes.Buffer)
	if body != nil {
		json.NewEncoder(content).Encode(body)
	}
	request, err := http.NewRequest(method, url, content)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: timeout}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		problem, _ := io.ReadAll(response.Body)
		return response.StatusCode, fmt.Errorf("%s %s", response.Status, problem)
	}
	if answer != nil {
		err = json.NewDecoder(response.Body).Decode(answer)
	}
	return response.StatusCode, err
}

func main() {
	listener, err := net.Listen("tcp", ":"+env("PORT", "0")) // listens first, then signs in
	if err != nil {
		log.Fatal(err)
	}
	leaving, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	server := http.Server{Handler: http.HandlerFunc(hello)}
	go server.Serve(listener)
	stay(listener.Addr().(*net.TCPAddr).Port, leaving)
	leave()
	server.Close()
}

func env(key, fallback string) string {
	if value := os.Getenv(key); value != "" {
		return value
	}
	return fallback
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}
