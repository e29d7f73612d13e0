/* Fills `is_prime` for all numbers below `limit`. */
void sieve(char *is_prime, unsigned long limit);
