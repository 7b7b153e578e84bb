#!/usr/bin/env bash
# Google's tuning tutorial, its own commands: only the host is replaced, and an unbalanced quote is mended
# ("null"" in the list part). Needs curl and jq.
#
#   overtone serve                    # in one terminal
#   bash examples/tutorial.sh         # in another
OVERTONE_URL=${OVERTONE_URL:-http://127.0.0.1:8080}
GOOGLE_API_KEY=${GOOGLE_API_KEY:-any}
command -v jq > /dev/null || { echo "This needs jq: apt install jq, or brew install jq" >&2; exit 1; }
curl --silent --fail --output /dev/null "${OVERTONE_URL}/v1beta/models?key=$GOOGLE_API_KEY" || {
echo "No service answers at ${OVERTONE_URL}, or it needs a key: overtone serve; GOOGLE_API_KEY=KEY" >&2; exit 1; }
sleep() { # the loop below would wait for ever for a tuning that was refused
[[ "$operation" != "null" ]] || { echo "The tuning was refused; the reason is above." >&2; exit 1; }
command sleep "$@"
}
cd "$(mktemp -d)" || exit 1

# Sending a page_size is optional
curl -X GET ${OVERTONE_URL}/v1beta/tunedModels?page_size=5 \
-H "Content-Type: application/json" \
-H "Authorization: Bearer ${access_token}" \
-H "x-goog-user-project: ${project_id}" > tuned_models.json
jq .tunedModels[].name < tuned_models.json
# Send the nextPageToken to get the next page.
page_token=$(jq .nextPageToken < tuned_models.json | tr -d '"')
if [[ "$page_token" != "null" ]]; then
curl -X GET ${OVERTONE_URL}/v1beta/tunedModels?page_size=5\&page_token=${page_token}?key=$GOOGLE_API_KEY \
-H "Content-Type: application/json" > tuned_models2.json
jq .tunedModels[].name < tuned_models.json
fi

curl -X POST "${OVERTONE_URL}/v1beta/tunedModels?key=$GOOGLE_API_KEY" \
-H 'Content-Type: application/json' \
-d '
{
"display_name": "number generator model",
"base_model": "models/gemini-1.5-flash-001-tuning",
"tuning_task": {
"hyperparameters": {
"batch_size": 2,
"learning_rate": 0.001,
"epoch_count":5,
},
"training_data": {
"examples": {
"examples": [
{
"text_input": "1",
"output": "2",
},{
"text_input": "3",
"output": "4",
},{
"text_input": "-3",
"output": "-2",
},{
"text_input": "twenty two",
"output": "twenty three",
},{
"text_input": "two hundred",
"output": "two hundred one",
},{
"text_input": "ninety nine",
"output": "one hundred",
},{
"text_input": "8",
"output": "9",
},{
"text_input": "-98",
"output": "-97",
},{
"text_input": "1,000",
"output": "1,001",
},{
"text_input": "10,100,000",
"output": "10,100,001",
},{
"text_input": "thirteen",
"output": "fourteen",
},{
"text_input": "eighty",
"output": "eighty one",
},{
"text_input": "one",
"output": "two",
},{
"text_input": "three",
"output": "four",
},{
"text_input": "seven",
"output": "eight",
}
]
}
}
}
}' | tee tunemodel.json
# Check the operation for status updates during training.
# Note: you can only check the operation on v1/
operation=$(cat tunemodel.json | jq ".name" | tr -d '"')
tuning_done=false
while [[ "$tuning_done" != "true" ]];
do
sleep 5
curl -X GET "${OVERTONE_URL}/v1/${operation}?key=$GOOGLE_API_KEY" \
-H 'Content-Type: application/json' \
2> /dev/null > tuning_operation.json
complete=$(jq .metadata.completedPercent < tuning_operation.json)
tput cuu1
tput el
echo "Tuning...${complete}%"
tuning_done=$(jq .done < tuning_operation.json)
done
# Or get the TunedModel and check it's state. The model is ready to use if the state is active.
modelname=$(cat tunemodel.json | jq ".metadata.tunedModel" | tr -d '"')
curl -X GET ${OVERTONE_URL}/v1beta/${modelname}?key=$GOOGLE_API_KEY \
-H 'Content-Type: application/json' > tuned_model.json
cat tuned_model.json | jq ".state"

curl -X POST ${OVERTONE_URL}/v1beta/$modelname:generateContent?key=$GOOGLE_API_KEY \
-H 'Content-Type: application/json' \
-d '{
"contents": [{
"parts": [{
"text": "LXIII"
}]
}]
}' 2> /dev/null

curl -X DELETE ${OVERTONE_URL}/v1beta/${modelname}?key=$GOOGLE_API_KEY \
-H 'Content-Type: application/json'
