#include "sieve.h"
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words)
{
    unsigned long limit = count > 1 ? strtoul(words[1], NULL, 10) : 0;
    char *is_prime = malloc(limit + 1);
    if (!is_prime)
        return 1;
    sieve(is_prime, limit);
    for (unsigned long i = 2; i < limit; i++)
        if (is_prime[i])
            printf("%lu\n", i);
    free(is_prime);
    return 0;
}
