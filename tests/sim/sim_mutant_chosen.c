// Which planted bug this build has just now.
#include "base/mutant.h"

int cc_mutant_chosen;
