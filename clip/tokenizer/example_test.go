package tokenizer_test

import (
	"fmt"
	"log"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

func Example() {
	tok := tokenizer.Default()
	ids, err := tok.Tokenize([]string{"a photo of a goldfish"}, 8)
	if err != nil {
		log.Fatal(err)
	}
	text, err := tok.Decode(ids[0][1:6])
	fmt.Println(ids[0], text, err)
	// Output: [49406 320 1125 539 320 40293 49407 0] a photo of a goldfish  <nil>
}
