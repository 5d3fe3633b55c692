// Ask for one address with Go's own client, and print the status and the answer.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, answer.Proto, string(body))
	if answer.StatusCode != 200 {
		os.Exit(1)
	}
}
