#include "wafl/aggregate.h"
#include "wafl/operations.h"
