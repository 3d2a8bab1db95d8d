package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a flag's amount of memory in bytes; 0 means that it was not given.
type size int64

const sizeUnits = "KMGT" // powers of 1024

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	n, unit := int64(*s), ""
	for _, u := range sizeUnits {
		if n%1024 != 0 {
			break
		}
		n, unit = n/1024, string(u)
	}
	return strconv.FormatInt(n, 10) + unit
}

func (s *size) Set(text string) error {
	number, factor := strings.ToUpper(text), 1.0
	for i, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, string(u)); ok {
			number, factor = rest, math.Pow(1024, float64(i+1))
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	bytes := n * factor
	if err != nil || !(bytes >= 1 && bytes < math.MaxInt64) {
		return fmt.Errorf("want a number of bytes, such as 64M or 1.5G")
	}
	*s = size(bytes)
	return nil
}

func (s *size) Type() string { return "size" }
