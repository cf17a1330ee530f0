// Package storetest is what every store must prove: the contract of package
// store as tests ([Run]), the same with a process killed and with the power cut
// ([Kill], [PowerLoss]), and a store in memory for the tests of others
// ([NewMemory]), which proves the same contract. Only tests import it.
package storetest
